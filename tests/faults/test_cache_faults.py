"""Rows A02, A05, A06 and A07: what the auth cache must not do, seen by clients alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness.arena import Arena
from tests.harness.attempts import FAILED, TEMPORARY, replies, reply, sasl
from tests.harness.oracles import Oracles
from tests.harness.raw_client import RawClient, plain
from tests.harness.wait import wait_until

TTL_S = 3
SETTINGS = f"""\
auth_cache_size = 1024
auth_cache_ttl = {TTL_S}
auth_cache_negative_ttl = 1
disable_plaintext_auth = no
"""
OK = b"a1 OK in"


@contextmanager
def locked(arena: Arena) -> Iterator[None]:
    """Hold every query until the end of the block, or until its time is over."""
    arena.database.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        arena.database.execute("ROLLBACK")


@contextmanager
def without_database(arena: Arena) -> Iterator[None]:
    """Take the database away for the block."""
    aside = arena.path.with_suffix(".aside")
    arena.path.rename(aside)
    try:
        yield
    finally:
        aside.rename(arena.path)


def set_password(arena: Arena, user: str, password: str) -> None:
    arena.database.execute("UPDATE users SET password = ? WHERE user = ?", (password, user))


def test_hit_with_a_wrong_password(arena: Arena) -> None:
    """A02: it fails after one fresh query; the next wrong ones fail without; the right one still hits."""
    arena.add("anna", "right-word")
    assert reply(arena, b"anna", b"right-word") == OK
    with arena.client() as client:
        with locked(arena):
            assert reply(arena, b"anna", b"right-word") == OK
            client.send(sasl("imap", b"anna", b"wrong-word"))
            assert client.is_silent(0.2), "no fresh query was made"
        assert client.line() == FAILED["imap"]
    with locked(arena):
        for _ in range(3):
            assert reply(arena, b"anna", b"wrong-word") == FAILED["imap"]
        assert reply(arena, b"anna", b"right-word") == OK


def test_no_verdict_is_kept(arena: Arena) -> None:
    """A05: somebody's wrong passwords do not keep the owner out, wherever either comes from."""
    arena.add("berta", "right-word")
    for _ in range(5):
        with RawClient(arena.proxy.imap_port, source="127.0.0.2") as guesser:
            answer = guesser.ask(b"a1 AUTHENTICATE PLAIN " + plain(b"berta", b"wrong-word") + b"\r\n")
            assert answer == FAILED["imap"]
    assert reply(arena, b"berta", b"right-word") == OK


def test_user_who_was_just_created(arena: Arena, oracles: Oracles) -> None:
    """A05: "unknown" is over after the negative TTL, though asked for all the time."""
    assert reply(arena, b"clara", b"right-word") == FAILED["imap"]
    arena.add("clara", "right-word")
    wait_until("clara is known", lambda: reply(arena, b"clara", b"right-word") == OK)
    assert oracles.log_since_begin().count(b"unknown user") == 1


def test_new_password(arena: Arena) -> None:
    """A06: works at the first try, and the old one is dead from then on."""
    arena.add("dora", "old-word")
    assert reply(arena, b"dora", b"old-word") == OK
    set_password(arena, "dora", "new-word")
    assert reply(arena, b"dora", b"new-word") == OK
    assert reply(arena, b"dora", b"old-word") == FAILED["imap"]


def test_old_password(arena: Arena) -> None:
    """A06: it dies by the TTL at the latest, though it is used all the time."""
    arena.add("emma", "old-word")
    assert reply(arena, b"emma", b"old-word") == OK
    set_password(arena, "emma", "new-word")
    assert reply(arena, b"emma", b"old-word") == OK
    wait_until("it is dead", lambda: reply(arena, b"emma", b"old-word") == FAILED["imap"], TTL_S + 1)
    assert reply(arena, b"emma", b"new-word") == OK


def test_database_goes_away_behind_a_warm_cache(arena: Arena, oracles: Oracles) -> None:
    """A07: the right password logs in from expired data, which is logged; all others may try again."""
    stale = b"Fallbacking to expired data from cache"
    arena.add("frida", "right-word")
    assert reply(arena, b"frida", b"right-word") == OK
    with without_database(arena):

        def is_stale() -> bool:
            assert reply(arena, b"frida", b"right-word") == OK
            return stale in oracles.log_since_begin()

        wait_until("the data has expired", is_stale, TTL_S + 2)
        logins = [sasl("imap", user, b"wrong-word") for user in (b"frida", b"nobody-yet")]
        answers = replies(arena, "imap", logins)
        assert all(answer.startswith(TEMPORARY["imap"]) for answer in answers), answers
    arena.add("nobody-yet", "right-word")
    wait_until("the database is back", lambda: reply(arena, b"mary", arena.MARY) == OK)
    assert reply(arena, b"nobody-yet", b"right-word") == OK, "a failed query was taken for 'unknown'"
    assert reply(arena, b"frida", b"wrong-word") == FAILED["imap"]
