"""Requests against passdbs, without a socket or a thread."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mailproxy.auth.database import Row, Values
from mailproxy.auth.fields import read_row
from mailproxy.auth.mechanisms.claim import Claim
from mailproxy.ipc.auth_server_lines import parse_ask
from tests.unit.auth.auth_child import Table, plain
from tests.unit.auth.engine_room import FAIL, OK, PARAMETERS, PROXY, TEMP, Room, flags, john

# -- the password -------------------------------------------------------------------------------------


def test_right_wrong_unknown() -> None:
    """A18: a wrong password and an unknown user look alike but for the name that was asked."""
    room = Room(john())
    assert room.login() == OK
    assert room.login(password=b"t") == FAIL
    assert room.login(user=b"jane") == b"FAIL\t1\tuser=jane\n"
    assert room.at_once == [False, False]
    assert room.logged == ["table(john,10.0.0.5): Password mismatch", "table(jane,10.0.0.5): unknown user"]


def test_no_secret_goes_out_with_a_refusal() -> None:
    """A14: FAIL has neither pass nor host."""
    room = Room(john(**{"pass": "master-secret", "destuser": "j"}))
    assert room.login() == b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tpass=master-secret\tdestuser=j\n"
    assert room.login(password=b"t") == FAIL


def test_null_password() -> None:
    """A22: any password passes and is forwarded; the empty one is still refused (C09)."""
    room = Room(john(None))
    assert room.login(password=b"anything") == OK.replace(b"pass=s", b"pass=anything")
    assert room.login(password=b"") == FAIL


def test_empty_stored_password_is_nobodys() -> None:
    """A22: and the log says so."""
    room = Room(john(b""))
    assert room.login() == FAIL
    assert room.login(password=b"") == FAIL
    assert "table(john,10.0.0.5): Stored password is empty, which no password matches" in room.logged


def test_empty_names_and_passwords_reach_no_passdb() -> None:
    """C09: failure without lookup."""
    table = john()
    room = Room(table)
    assert room.login(user=b"") == b"FAIL\t1\n"
    assert room.login(password=b"") == FAIL
    assert table.asked == []
    assert room.logged == ["plain(?,10.0.0.5): Empty username", "plain(john,10.0.0.5): Password is empty"]


@pytest.mark.parametrize("byte", [b"\r", b"\n"])
def test_password_with_a_line_end(byte: bytes) -> None:
    """C01: refused as a wrong password, before any lookup."""
    table = john(None)
    room = Room(table)
    assert room.login(password=b"x" + byte + b"DELE 1") == FAIL
    assert table.asked == []


def test_nuls() -> None:
    """C05: wrong counts are an ordinary failure."""
    room = Room(john())
    room.begin(base64.b64encode(b"\0john\0s\0"))
    assert room.lines == [b"FAIL\t1\n"]
    assert room.logged == ["plain(?,10.0.0.5): invalid input"]


@pytest.mark.parametrize("password", [b"\xff\xfe\xfd", "p\u00e4ss".encode(), b'q"\\ \t', b"x" * 4096])
def test_passwords_arrive_byte_for_byte(password: bytes) -> None:
    """C06, C08, C10: no transcoding, no cut."""
    room = Room(john(password))
    escaped = password.replace(b"\t", b"\x01t")
    assert room.login(password=password) == OK.replace(b"pass=s", b"pass=" + escaped)
    assert room.login(password=password + b"x") == FAIL


def test_slow_hashes_run_elsewhere() -> None:
    """A15: nothing is answered until the thread has done its work."""
    stored = b"{CRYPT}$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
    room = Room(john(stored))
    room.begin(plain(b"john", b"secret"))
    assert room.lines == []
    assert len(room.jobs) == 1
    room.run_jobs()
    assert room.lines == [OK.replace(b"pass=s", b"pass=secret")]


@pytest.mark.parametrize("stored", [b"{", b"{X}y", b"{CRYPT}$2b$", b"{CRYPT}*", b"{CRYPT}!", b"{SSHA}Zm9v"])
def test_malformed_stored_password(stored: bytes) -> None:
    """A17: a temporary failure, one error line without the hash."""
    room = Room(john(stored))
    assert room.login() == TEMP
    assert len(room.errors) == 1
    assert room.errors[0].startswith("table(john,10.0.0.5): ")
    assert stored.rpartition(b"}")[2].decode() not in room.errors[0].partition(": ")[2] or stored == b"{X}y"


def test_passwords_are_logged_only_on_demand() -> None:
    """C16: auth_debug_passwords and nothing else shows them."""
    for demanded in (False, True):
        room = Room(john(b"{PLAIN}stored-one"), debug=True, debug_passwords=demanded)
        room.login(password=b"typed-one")
        shown = "\n".join(room.logged)
        assert ("typed-one" in shown) == demanded
        assert ("stored-one" in shown) == demanded


def test_secrets_have_no_repr() -> None:
    """C16: neither an assertion nor a traceback can print them."""
    held = [
        Claim(b"john", b"", b"typed-secret", None),
        parse_ask([b"AUTH", b"1", b"PLAIN", b"service=imap", b"resp=typed-secret"]),
        read_row(Row(b"stored-secret", {"pass": "field-secret"}), "PLAIN"),
    ]
    assert "secret" not in repr(held)


def test_log_is_quiet_by_default() -> None:
    room = Room(john(), verbose=False)
    room.login(password=b"t")
    room.login(user=b"")
    assert room.logged == []


def test_names_in_the_log_are_escaped_and_cut() -> None:
    """C17: no forged line, no escape sequence, no 10 KiB name."""
    room = Room(john(), username_chars="", debug=True)
    room.login(user=b"\x1b[2J\xff" + b"x" * 10000)
    room.login(user=b"a\nb")
    assert all(len(line) < 250 and line.isprintable() and line.isascii() for line in room.logged)


# -- fields -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"proxy": ""},
        {"proxy": "", "host": "mail.example.com\r\n"},
        {"proxy": "", "host": "10.0.0.1", "ssl": "maybe"},
        {"proxy": "", "host": "10.0.0.1", "port": "70000"},
        {"proxy": "", "host": "10.0.0.1", "destuser": "a\r\nb"},
        {"proxy": "", "host": "10.0.0.1", "pass": "SECRET\n"},
    ],
)
def test_rows_that_cannot_be_used(fields: dict[str, str]) -> None:
    """A23, C04: a temporary failure with an error line that names user and field."""
    room = Room(Table({"john": Row(b"s", fields)}))
    assert room.login() == TEMP
    assert room.errors[0].startswith("table(john,10.0.0.5): field '")
    assert "SECRET" not in room.errors[0]


def test_renaming() -> None:
    room = Room(john(user="johnny"), debug=True)
    assert room.login() == OK.replace(b"user=john", b"user=johnny")
    assert "auth(john,10.0.0.5): username changed john -> johnny" in room.logged


def test_allow_nets() -> None:
    """A03: the right password from elsewhere is refused, the reason is in the log."""
    room = Room(john(allow_nets="10.0.0.0/8"))
    assert room.login() == OK
    assert room.login(rip=b"11.0.0.5") == FAIL
    assert room.logged == ["passdb(john,11.0.0.5): allow_nets check failed: IP not in allowed networks"]
    debugging = Room(john(allow_nets="10.0.0.0/8"), debug=True)
    debugging.login()
    assert "auth(john,10.0.0.5): allow_nets: Matching for network 10.0.0.0/8" in debugging.logged


def test_nodelay_applies_to_mismatches() -> None:
    """A19: with any driver; an unknown user has no row and thus no nodelay."""
    room = Room(john(nodelay=""))
    room.login(password=b"t")
    room.login(user=b"jane", password=b"t")
    assert room.at_once == [True, False]


def test_values_for_queries() -> None:
    """A04: every variable that a query may use."""
    table = john()
    room = Room(table)
    room.begin(plain(b"john", b"s"), {**PARAMETERS, b"secured": b""})
    expected = {"u": "john", "n": "john", "d": "", "s": "imap", "l": "127.0.0.1", "r": "10.0.0.5"}
    assert table.seen == [{**expected, "p": "22", "w": "s", "m": "PLAIN", "c": "secured"}]


# -- the chain ----------------------------------------------------------------------------------------


def test_next_passdb_after_unknown_and_after_mismatch() -> None:
    first, second = john(b"a"), john(b"b")
    room = Room(first, second)
    assert room.login(password=b"b").startswith(b"OK")
    assert room.login(password=b"a").startswith(b"OK")
    assert room.login(password=b"c") == FAIL
    assert Room(Table({}), second).login(password=b"b").startswith(b"OK")


def test_deny_passdb() -> None:
    """A21: deny wins whatever the password is, and one that is down refuses everybody for now."""
    denied = Table({"john": Row(b"other", {})})
    room = Room(denied, john(), flags=flags("deny", ""))
    assert room.login() == FAIL
    assert "passdb(john,10.0.0.5): User found from deny passdb" in room.logged
    denied.rows.clear()
    assert room.login() == OK
    denied.failure = "down"
    assert room.login() == TEMP


def test_pass_on_wants_both() -> None:
    """A21: with pass=yes the next one has to accept as well, and its fields count."""
    first = Table(
        {"john": Row(b"s", {"extra": "1"}), "jane": Row(b"s", {}), "jim": Row(b"s", {"user": "john"})}
    )
    second = john()
    room = Room(first, second, flags=flags("pass", ""))
    assert room.login() == OK
    assert room.login(user=b"jane") == b"FAIL\t1\tuser=jane\n"
    assert room.login(user=b"jim") == OK


def test_failure_of_an_earlier_passdb_is_remembered() -> None:
    """A21, S07: unknown in the second is no proof, found in the second is."""
    first, second = Table({}), john()
    first.failure = "Not connected to database"
    room = Room(first, second)
    assert room.login() == OK
    assert room.login(user=b"jane") == b"FAIL\t1\tuser=jane\ttemp\n"
    assert room.errors[0] == "table(john,10.0.0.5): Not connected to database"


def test_driver_that_raises_something_else() -> None:
    """Its fault ends one request and its text, which may quote anything, is not logged."""

    class Broken(Table):
        def lookup(self, values: Values) -> Row | None:
            raise KeyError("SECRET")

    room = Room(Broken({}))
    assert room.login() == TEMP
    assert room.errors == ["table(john,10.0.0.5): Lookup failed: KeyError"]


# -- master users -------------------------------------------------------------------------------------


def masters(*words: str, **changes: Any) -> tuple[Room, Table, Table]:
    boss = Table({"boss": Row(b"m", {"proxy": "", "host": "10.9.9.9"})})
    target = john()
    return Room(boss, target, flags=flags(*words), master_user_separator="*", **changes), boss, target


def test_master_login() -> None:
    """C11: separator; the master passdb's fields, the requested name, the master's password."""
    room, boss, target = masters("master", "")
    expected = b"OK\t1\tuser=john\tproxy\thost=10.9.9.9\tpass=m\n"
    assert room.login(user=b"john*boss", password=b"m") == expected
    assert room.login(user=b"boss", password=b"m", acts_as=b"john") == expected
    assert (boss.asked, target.asked) == (["boss", "boss"], [])
    assert room.logged[0] == "auth(boss,10.0.0.5,master): Master user logging in as john"


def test_master_login_with_pass_takes_the_targets_fields() -> None:
    room, _, target = masters("master pass", "")
    assert room.login(user=b"john*boss", password=b"m") == OK.replace(b"pass=s", b"pass=m")
    assert target.asked == ["john"]
    assert room.login(user=b"jane*boss", password=b"m") == b"FAIL\t1\tuser=jane\n"


def test_wrong_master() -> None:
    """C11: the ordinary passdbs are never asked about a master."""
    room, _, target = masters("master", "")
    assert room.login(user=b"john*boss", password=b"s") == FAIL
    assert room.login(user=b"john*john", password=b"s") == OK
    assert room.login(user=b"boss*john", password=b"s") == b"FAIL\t1\tuser=boss\n"
    assert target.asked == ["john"]
    assert "table(boss,10.0.0.5,master): Password mismatch" in room.logged


def test_master_login_without_master_passdbs() -> None:
    """C12: another authorization identity is never dropped or swapped."""
    table = Table({"john": Row(b"s", PROXY), "victim": Row(b"s", PROXY)})
    room = Room(table)
    assert room.login(acts_as=b"victim") == b"FAIL\t1\tuser=victim\n"
    assert table.asked == []
    assert room.logged == ["plain(john,10.0.0.5): Attempted master login with no master passdbs"]


@pytest.mark.parametrize("name", [b"*boss", b"john*", b"*", b"john*b*ss"])
def test_separator_tricks(name: bytes) -> None:
    """C11: ordinary failures, no lookup."""
    room, boss, target = masters("master", "")
    assert room.login(user=name, password=b"m") == b"FAIL\t1\n"
    assert boss.asked == target.asked == []


# -- threads ------------------------------------------------------------------------------------------


def test_blocking_lookup_of_a_request_that_is_gone() -> None:
    """A24: it is not run any more, or its answer reaches nobody."""
    table = Table({"john": Row(b"s", PROXY)}, blocking=True)
    room = Room(table)
    queued = room.begin(plain(b"john", b"s"))
    queued.is_over = True
    room.run_jobs()
    assert (table.asked, room.lines) == ([], [])
    running = room.begin(plain(b"john", b"s"))
    work, done = room.jobs.pop()
    found = work()
    running.is_over = True
    done(found)
    assert room.lines == []


def test_full_queue() -> None:
    """X09: a temporary failure at once and one line a second."""
    room = Room(Table({}, blocking=True))
    room.queue_limit = 0
    assert [room.login(), room.login()] == [TEMP, TEMP]
    assert room.errors == ["auth(john,10.0.0.5): All auth workers are busy"]
    room.engine.now += 1.1
    room.login()
    assert len(room.errors) == 2


def test_request_that_takes_too_long() -> None:
    """S07: gets its temporary failure, and the late row is dropped."""
    room = Room(Table({"john": Row(b"s", PROXY)}, blocking=True))
    request = room.begin(plain(b"john", b"s"))
    room.engine.expire(request)
    room.run_jobs()
    assert room.lines == [TEMP]
