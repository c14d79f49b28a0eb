"""Requests against passdbs, without a socket or a thread."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mailproxy.auth.cache import AuthCache
from mailproxy.auth.chain import open_chain
from mailproxy.auth.database import Row, Values
from mailproxy.auth.engine import RECHECK_S, Engine
from mailproxy.auth.fields import read_row
from mailproxy.auth.mechanisms.claim import Claim, Context
from mailproxy.auth.mechanisms.registry import OFFERS
from mailproxy.auth.request import Request
from mailproxy.auth.resolver import Resolver
from mailproxy.auth.target_fields import Approach
from mailproxy.base.level import Level
from mailproxy.config.settings import DatabaseSettings
from mailproxy.ipc.auth_server_lines import parse_ask
from tests.unit.auth.auth_child import SETTINGS, Table, plain
from tests.unit.auth.test_mechanisms import digest

PROXY = {"proxy": "", "host": "10.0.0.1"}
OK = b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tpass=s\n"
FAIL = b"FAIL\t1\tuser=john\n"
TEMP = b"FAIL\t1\tuser=john\ttemp\n"
PARAMETERS = {b"service": b"imap", b"lip": b"127.0.0.1", b"rip": b"10.0.0.5"}


def john(password: bytes | None = b"s", /, **more: str) -> Table:
    return Table({"john": Row(password, {**PROXY, **more})})


class Room:
    """An engine with a recorder around it; slow work waits in `jobs`."""

    def __init__(
        self,
        *tables: Table,
        flags: tuple[DatabaseSettings, ...] = (),
        cache: bool = False,
        mechanism: str = "PLAIN",
        **changes: Any,
    ) -> None:
        settings = replace(
            SETTINGS, passdbs=flags or (DatabaseSettings("table", ""),) * len(tables), **changes
        )
        opening = iter(tables)
        self.chain = open_chain(settings, lambda _database: next(opening))
        self.cache = AuthCache(1 << 20, 100.0, 50.0) if cache else None
        self.jobs: list[tuple[Callable[[], object], Callable[..., None]]] = []
        self.queue_limit = 100
        self.logged: list[str] = []
        self.errors: list[str] = []
        self.lines: list[bytes] = []
        self.at_once: list[bool] = []
        self.challenges: list[bytes] = []
        self.mechanism = mechanism
        self.names: dict[str, tuple[str, ...]] = {}
        resolver = Resolver(self.submit, lambda: self.engine.now, self.log, self.query)
        self.used: list[tuple[str, Approach, str]] = []
        self.engine = Engine(
            settings,
            self.chain,
            self.cache,
            self.submit,
            resolver.resolve_all,
            self.log,
            lambda *backend: self.used.append(backend),
        )
        self.engine.now = 1000.0

    def submit(self, work: Callable[[], object], done: Callable[..., None]) -> bool:
        if len(self.jobs) >= self.queue_limit:
            return False
        self.jobs.append((work, done))
        return True

    def query(self, name: str) -> tuple[str, ...]:
        if name not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[name]

    def run_jobs(self) -> None:
        while self.jobs:
            work, done = self.jobs.pop(0)
            done(work())

    def log(self, level: Level, text: str) -> None:
        self.logged.append(text)
        if level is Level.ERROR:
            self.errors.append(text)

    def challenge(self, request: Request, challenge: bytes) -> None:
        self.challenges.append(challenge)

    def succeed(self, request: Request, line: bytes) -> None:
        self.lines.append(line)

    def fail(self, request: Request, line: bytes, at_once: bool) -> None:
        self.lines.append(line)
        self.at_once.append(at_once)

    def deliver(self, request: Request, line: bytes) -> None:
        raise AssertionError("nothing is held back here")

    def begin(self, response: bytes | None, parameters: dict[bytes, bytes] | None = None) -> Request:
        offer = OFFERS[self.mechanism]
        request = Request(self, 1, offer, offer.begin(Context(b"h", (), 1, 1, 0)), "22", self.engine.now)
        self.engine.begin(request, parameters or PARAMETERS, response)
        return request

    def login(
        self, user: bytes = b"john", password: bytes = b"s", acts_as: bytes = b"", rip: bytes = b"10.0.0.5"
    ) -> bytes:
        self.begin(plain(user, password, acts_as), {**PARAMETERS, b"rip": rip})
        self.run_jobs()
        return self.lines[-1]


def flags(*words: str) -> tuple[DatabaseSettings, ...]:
    return tuple(
        DatabaseSettings("table", "", deny="deny" in word, pass_on="pass" in word, master="master" in word)
        for word in words
    )


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


# -- where to ----------------------------------------------------------------------------------------


def test_name_is_resolved_before_the_answer() -> None:
    """A23: the host stays the name, for certificates and the log."""
    room = Room(john(host="mail.example.com", port="993", ssl="yes", proxy_timeout="5 s"))
    room.names = {"mail.example.com": ("::1", "::2", "10.0.0.1")}
    assert room.login() == (
        b"OK\t1\tuser=john\tproxy\tssl=yes\tproxy_timeout=5"
        b"\thost=mail.example.com\thostip=::1,10.0.0.1,::2\tport=993\tpass=s\n"
    )
    room.names.clear()
    room.begin(plain(b"john", b"s"))
    assert len(room.lines) == 2


def test_name_that_cannot_be_resolved() -> None:
    """A23: a temporary failure, and the administrator hears of it."""
    room = Room(john(host="mail.example.com"))
    assert room.login() == TEMP
    assert room.errors == [
        "proxy(john,10.0.0.5): DNS lookup of mail.example.com failed: Name or service not known"
    ]


def test_addresses_ask_no_dns() -> None:
    """A23: an IP never does, not in a list either."""
    room = Room(john(host="10.0.0.1, 10.0.0.2:1143", port="143"))
    room.begin(plain(b"john", b"s"))
    assert (room.jobs, room.lines) == (
        [],
        [
            b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tport=143"
            b"\tproxy_alternatives=10.0.0.2/10.0.0.2/1143\tpass=s\n"
        ],
    )


def test_one_name_of_a_list_is_unknown() -> None:
    room = Room(john(host="gone,mail"))
    room.names = {"mail": ("10.0.0.1",)}
    assert room.login() == b"OK\t1\tuser=john\tproxy\thost=mail\thostip=10.0.0.1\tpass=s\n"
    assert room.errors == ["proxy(john,10.0.0.5): DNS lookup of gone failed: Name or service not known"]


def test_name_without_an_address_of_the_family() -> None:
    """X08: source_ip cannot reach it."""
    room = Room(john(host="mail", source_ip="::1"))
    room.names = {"mail": ("10.0.0.1",)}
    assert room.login() == TEMP
    assert room.errors == [
        "proxy(john,10.0.0.5): no server in field 'host' has an address of the family of field 'source_ip'"
    ]


def test_hash_stays_with_the_user_who_goes_out() -> None:
    """B18: the same server for every proxy and each login, also when a row renames the user."""
    hosts = [f"10.0.0.{number}" for number in range(1, 9)]
    renamed = {name: Row(b"s", {**PROXY, "user": "john", "host": ",".join(hosts)}) for name in ("a", "b")}
    for row in renamed.values():
        row.fields["proxy_balance"] = "hash"
    room = Room(Table(renamed))
    assert room.login(user=b"a") == room.login(user=b"b")
    assert b"\thost=10.0.0.1\t" not in room.lines[0]


def test_answer_that_comes_after_the_request_is_over() -> None:
    room = Room(john(host="mail"))
    room.names = {"mail": ("10.0.0.1",)}
    request = room.begin(plain(b"john", b"s"))
    room.engine.expire(request)
    room.run_jobs()
    assert room.lines == [TEMP]


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


# -- the cache ----------------------------------------------------------------------------------------


def test_hit_checks_the_password_and_asks_again_once() -> None:
    """A02: a wrong password after a good login costs one query, the next wrong ones none."""
    table = john()
    room = Room(table, cache=True)
    assert [room.login(), room.login()] == [OK, OK]
    assert len(table.asked) == 1
    assert room.login(password=b"t") == FAIL
    assert len(table.asked) == 2
    assert [room.login(password=b"t") for _ in range(3)] == [FAIL] * 3
    assert len(table.asked) == 2
    assert room.login() == OK
    assert len(table.asked) == 2


def test_wrong_guesses_of_others_do_not_lock_out() -> None:
    """A05: five wrong ones, then the right one at first try."""
    room = Room(john(), cache=True)
    for _ in range(5):
        assert room.login(password=b"t", rip=b"127.0.0.2") == FAIL
    assert room.login(rip=b"127.0.0.1") == OK


def test_changed_password() -> None:
    """A06: the new one works at first try, also after somebody tried a wrong one a while ago."""
    table = john()
    room = Room(table, cache=True)
    room.login()
    table.rows["john"] = Row(b"new", PROXY)
    assert room.login(password=b"new").startswith(b"OK")
    room.login(password=b"wrong")
    table.rows["john"] = Row(b"newer", PROXY)
    room.engine.now += RECHECK_S + 0.1
    assert room.login(password=b"newer").startswith(b"OK")
    assert room.login(password=b"s") == FAIL


def test_unknown_users_are_remembered_for_their_own_time() -> None:
    """A05: a user who was just created can log in after the negative TTL."""
    table = Table({})
    room = Room(table, cache=True)
    assert [room.login(), room.login()] == [FAIL, FAIL]
    assert len(table.asked) == 1
    table.rows["john"] = Row(b"s", PROXY)
    room.engine.now += 50.1
    assert room.login() == OK
    assert "cache(john,10.0.0.5): User unknown" in room.logged


def test_ttl_is_not_renewed_by_hits() -> None:
    """A10."""
    table = john()
    room = Room(table, cache=True)
    for _ in range(5):
        room.login()
        room.engine.now += 24.0
    assert len(table.asked) == 1
    room.engine.now += 10.0
    room.login()
    assert len(table.asked) == 2


def test_all_fields_and_checks_on_a_hit() -> None:
    """A03: allow_nets, nodelay, nologin, destuser and the new name, each time."""
    room = Room(
        john(allow_nets="10.0.0.0/8", nodelay="", nologin="", destuser="j", user="johnny"), cache=True
    )
    first = room.login()
    assert room.login() == first
    assert first == b"OK\t1\tuser=johnny\tproxy\thost=10.0.0.1\tnologin\tdestuser=j\tpass=s\n"
    assert room.login(rip=b"11.0.0.1").startswith(b"FAIL")
    assert room.login(password=b"t").startswith(b"FAIL")
    assert room.at_once == [True, True]
    assert len(room.cache or ()) == 1


def test_key_has_what_the_query_uses() -> None:
    """A04: an IMAP hit does not serve POP3 when the query looks at the service."""
    table = Table({"john": Row(b"s", PROXY)}, key=("u", "s"))
    room = Room(table, cache=True)
    room.login()
    room.begin(plain(b"john", b"s"), {**PARAMETERS, b"service": b"pop3"})
    assert [values["s"] for values in table.seen] == ["imap", "pop3"]


def test_renamed_users_are_found_by_the_name_they_asked_with() -> None:
    """A08: `John` is a hit for `John`; `john` is a row of its own."""
    table = Table({"John": Row(b"s", {**PROXY, "user": "john"}), "john": Row(b"x", PROXY)})
    room = Room(table, cache=True)
    assert [room.login(user=b"John"), room.login(user=b"John")] == [OK, OK]
    assert room.login(user=b"john") == FAIL
    assert table.asked == ["John", "john"]


def test_two_passdbs_do_not_share_entries() -> None:
    """A01: the number of the passdb is part of the key."""
    room = Room(john(b"a"), john(b"b"), cache=True)
    for password in (b"a", b"b", b"a", b"b"):
        assert room.login(password=password).startswith(b"OK")
    assert len(room.cache or ()) == 2


def test_database_down() -> None:
    """A07, S07: right password of a known user is served stale; all others fail for now, none is cached."""
    table = john()
    room = Room(table, cache=True)
    room.login()
    room.login(user=b"jane")
    room.engine.now += 200.0
    table.failure = "Not connected to database"
    assert room.login() == OK
    assert "passdb(john,10.0.0.5): Fallbacking to expired data from cache" in room.logged
    assert room.login(password=b"t") == TEMP
    assert room.login(user=b"jane") == b"FAIL\t1\tuser=jane\ttemp\n"
    assert room.login(user=b"jim") == b"FAIL\t1\tuser=jim\ttemp\n"
    table.failure = ""
    table.rows["jim"] = Row(b"s", PROXY)
    assert room.login(user=b"jim").startswith(b"OK")


def test_faulty_rows_are_not_cached() -> None:
    """A17, A23: the administrator's repair works at once."""
    table = Table({"john": Row(b"s", {"proxy": ""})})
    room = Room(table, cache=True)
    assert room.login() == TEMP
    table.rows["john"] = Row(b"{CRYPT}!", PROXY)
    assert room.login() == TEMP
    table.rows["john"] = Row(b"s", PROXY)
    assert room.login() == OK


def test_deny_hit_does_not_renew() -> None:
    """A10, A21: cached in a deny passdb, refused on the hit, looked up again after the TTL."""
    denied = john()
    room = Room(denied, john(), flags=flags("deny", ""), cache=True)
    for _ in range(3):
        assert room.login() == FAIL
        room.engine.now += 40.0
    assert len(denied.asked) == 1
    assert room.login() == FAIL
    assert len(denied.asked) == 2


def test_null_password_on_a_hit() -> None:
    room = Room(john(None), cache=True)
    room.login()
    assert room.login(password=b"other").endswith(b"pass=other\n")
    assert "cache(john,10.0.0.5): NULL password access" in room.logged


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


# -- mechanisms ---------------------------------------------------------------------------------------


def test_bad_base64() -> None:
    """A13: the request fails at once with its reason."""
    room = Room(john())
    for response in (b"!!!", b"AGEAYg", b"AGEAYg==x", b"A"):
        room.begin(response)
        assert room.lines[-1] == b"FAIL\t1\treason=Invalid base64 data in initial response\n"
    assert all(room.at_once)


def test_plain_in_two_steps() -> None:
    room = Room(john())
    request = room.begin(None)
    assert room.challenges == [b""]
    room.engine.proceed(request, plain(b"john", b"s"))
    assert room.lines == [OK]


def test_continuation_out_of_turn() -> None:
    room = Room(Table({}, blocking=True))
    request = room.begin(plain(b"john", b"s"))
    room.engine.proceed(request, b"")
    assert room.lines == [b"FAIL\t1\treason=Unexpected continuation\n"]
    room.run_jobs()
    assert len(room.lines) == 1
    other = Room(john())
    other.engine.proceed(other.begin(None), b"!")
    assert other.lines == [b"FAIL\t1\treason=Invalid base64 data in continued response\n"]


def cram(room: Room, password: bytes) -> bytes:
    request = room.begin(None)
    answer = b"john " + hmac.new(password, room.challenges[-1], "md5").hexdigest().encode()
    room.engine.proceed(request, base64.b64encode(answer))
    return room.lines[-1]


def test_challenge_mechanism() -> None:
    """No password was typed, so none is forwarded; the cache serves it as well."""
    table = john()
    room = Room(table, mechanism="CRAM-MD5", cache=True)
    assert cram(room, b"s") == cram(room, b"s") == b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\n"
    assert cram(room, b"t") == FAIL
    assert table.seen[0]["w"] == ""


def test_last_message_of_a_mechanism_goes_ahead_of_the_success() -> None:
    """RFC 2831: rspauth is a challenge, an empty answer to it ends the exchange; never after a failure."""
    room = Room(john(), mechanism="DIGEST-MD5")
    request = room.begin(None)
    room.engine.proceed(request, base64.b64encode(digest(room.challenges[0], b"john", b"", b"s")))
    assert room.challenges[1].startswith(b"rspauth=")
    assert room.lines == []
    room.engine.proceed(request, b"")
    assert room.lines == [b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\n"]
    wrong = Room(john(), mechanism="DIGEST-MD5")
    request = wrong.begin(None)
    wrong.engine.proceed(request, base64.b64encode(digest(wrong.challenges[0], b"john", b"", b"t")))
    assert (len(wrong.challenges), wrong.lines) == (1, [FAIL])


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (b"{SHA}x", "password(john,10.0.0.5): Requested CRAM-MD5 scheme, but we have only SHA"),
        (None, "password(john,10.0.0.5): Requested CRAM-MD5 scheme, but the password is NULL"),
    ],
)
def test_challenge_mechanism_without_a_fitting_scheme(stored: bytes | None, why: str) -> None:
    room = Room(john(stored), mechanism="CRAM-MD5")
    assert cram(room, b"s") == FAIL
    assert why in room.logged


def test_certificates() -> None:
    """ssl_require_client_cert refuses at once, ssl_username_from_cert replaces the typed name."""
    room = Room(john(), ssl_require_client_cert=True, ssl_username_from_cert=True)
    assert room.login() == b"FAIL\t1\treason=Client didn't present valid SSL certificate\n"
    certified = {**PARAMETERS, b"valid-client-cert": b"", b"cert_username": b"john"}
    room.begin(plain(b"other", b"s"), certified)
    assert room.lines[-1] == OK


def test_certified_name_needs_the_certificate() -> None:
    """A name alone proves nothing, and nobody asked for it where the setting is off."""
    named = {**PARAMETERS, b"cert_username": b"john"}
    for room in (Room(john(), ssl_username_from_cert=True), Room(john())):
        room.begin(plain(b"other", b"s"), named)
        assert room.lines == [b"FAIL\t1\tuser=other\n"]
    room = Room(john())
    room.begin(plain(b"other", b"s"), {**named, b"valid-client-cert": b""})
    assert room.lines == [b"FAIL\t1\tuser=other\n"]


@pytest.mark.parametrize("name", [b"jo\nhn", b"jo\rhn", b"jo\0hn"])
def test_certified_name_with_a_line_end(name: bytes) -> None:
    """C04: it cannot go to a backend, whoever signed it."""
    table = john()
    room = Room(table, ssl_username_from_cert=True)
    room.begin(plain(b"john", b"s"), {**PARAMETERS, b"valid-client-cert": b"", b"cert_username": name})
    assert room.lines == [b"FAIL\t1\n"]
    assert table.asked == []


# -- tokens -------------------------------------------------------------------------------------------

XOAUTH2 = base64.b64encode(b"user=john\x01auth=Bearer to.ken\x01\x01")


def test_token_goes_to_the_backend() -> None:
    """The row's password is not asked for; the cache serves tokens as well."""
    table = john(b"{SSHA}rubbish", proxy_mech="xoauth2")
    room = Room(table, mechanism="XOAUTH2", cache=True)
    for _ in range(2):
        room.begin(XOAUTH2)
        assert room.lines[-1] == (
            b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tproxy_mech=XOAUTH2\tpass=to.ken\n"
        )
    assert [values["w"] for values in table.seen] == [""]


@pytest.mark.parametrize(
    "fields",
    [
        {"proxy": "", "host": "10.0.0.1"},
        {"proxy": "", "host": "10.0.0.1", "proxy_mech": "OAUTHBEARER"},
        {"proxy": "", "host": "10.0.0.1", "proxy_mech": "XOAUTH2", "pass": "m"},
        {"proxy_maybe": "", "host": "10.0.0.1", "proxy_mech": "XOAUTH2"},
        {"proxy": "", "proxy_maybe": "", "host": "10.0.0.1", "proxy_mech": "XOAUTH2"},
        {"host": "10.0.0.1", "proxy_mech": "XOAUTH2"},
        {"nologin": "", "proxy_mech": "XOAUTH2"},
        {},
    ],
)
def test_token_that_no_backend_would_check(fields: dict[str, str]) -> None:
    """A22: neither NULL nor another password lets it pass."""
    for password in (None, b"to.ken"):
        room = Room(
            Table({"john": Row(password, fields)}), mechanism="XOAUTH2", debug=True, debug_passwords=True
        )
        room.begin(XOAUTH2)
        assert room.lines == [FAIL]
        assert "ken" not in "".join(room.logged).replace("Token", "")
        assert any("needs a row with proxy, proxy_mech=XOAUTH2" in line for line in room.logged)


def test_token_for_a_service_without_backends() -> None:
    """An SMTP server that asks us would take OK for a proof."""
    room = Room(john(proxy_mech="XOAUTH2"), mechanism="XOAUTH2")
    room.begin(XOAUTH2, {**PARAMETERS, b"service": b"smtp"})
    assert room.lines == [FAIL]


def test_token_of_a_master() -> None:
    """C11: a master proves himself here."""
    boss = Table({"boss": Row(None, {**PROXY, "proxy_mech": "XOAUTH2"})})
    room = Room(boss, john(), flags=flags("master", ""), master_user_separator="*", mechanism="XOAUTH2")
    room.begin(base64.b64encode(b"user=john*boss\x01auth=Bearer t\x01\x01"))
    assert room.lines == [FAIL]


def test_token_of_a_denied_user() -> None:
    """A21: deny wins here too."""
    denied = Table({"john": Row(None, {})})
    room = Room(denied, john(proxy_mech="XOAUTH2"), flags=flags("deny", ""), mechanism="XOAUTH2")
    room.begin(XOAUTH2)
    assert room.lines == [FAIL]


# -- which backends are used --------------------------------------------------------------------------


def test_each_accepted_login_tells_its_backend() -> None:
    """A refused one does not, nor one that goes nowhere."""
    room = Room(john(port="1143", ssl="yes", starttls="any-cert", haproxy="yes", source_ip="10.0.0.9"))
    room.login(password=b"wrong")
    assert room.used == []
    room.login()
    room.login()
    approach = Approach("10.0.0.1", "1143", "any-cert", True, "10.0.0.9", True)
    assert room.used == [("imap", approach, "10.0.0.1")] * 2
    assert not approach.has_tls_port
    room = Room(Table({"john": Row(b"s", {"nologin": ""})}))
    room.login()
    assert room.used == []


def test_a_backend_with_a_name_has_the_addresses_of_now() -> None:
    """Given by the row, or by DNS; of several servers the first to be tried."""
    room = Room(john(host="mail", hostip="10.0.0.2,10.0.0.3"))
    room.login()
    assert room.used == [("imap", Approach("mail", "", "", False, "", False), "10.0.0.2,10.0.0.3")]
    room = Room(john(host="one:1143,two", ssl="yes"))
    room.names = {"one": ("10.0.0.4", "::4"), "two": ("10.0.0.5",)}
    room.login()
    room.run_jobs()
    room.run_jobs()
    approach = Approach("one", "1143", "yes", False, "", False)
    assert approach.has_tls_port
    assert room.used == [("imap", approach, "10.0.0.4,::4")]
