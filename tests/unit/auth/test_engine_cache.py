"""The cache in an auth engine: what a hit still checks, and what is never kept."""

from __future__ import annotations

from mailproxy.auth.database import Row
from mailproxy.auth.engine import RECHECK_S
from tests.unit.auth.auth_child import Table, plain
from tests.unit.auth.engine_room import FAIL, OK, PARAMETERS, PROXY, TEMP, Room, flags, john


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
