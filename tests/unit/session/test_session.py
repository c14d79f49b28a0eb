"""What a dialogue in a file cannot show: properties, pauses, deadlines, what is kept in memory."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

import pytest

from mailproxy.base.limits import PAUSE_BYTES, PROXY_TIMEOUT_S
from mailproxy.ipc.auth_protocol import Outcome, Reply
from mailproxy.session.session import Session
from mailproxy.session.state import State
from tests.harness.session_recorder import Recorder, make_client, make_policy

ACCEPTED = {b"user": b"john", b"proxy": b"", b"host": b"192.0.2.1", b"pass": b"geheim"}


def begin(protocol: str = "imap", mechanisms: tuple[bytes, ...] = (b"PLAIN",)) -> tuple[Session, Recorder]:
    out = Recorder()
    session = Session(make_policy(protocol, mechanisms), out, make_client(), b"T")
    session.start(100.0)
    return session, out


def reply(
    session: Session, out: Recorder, outcome: Outcome, fields: dict[bytes, bytes], now: float = 101.0
) -> None:
    out.has_request = outcome is Outcome.CONTINUE
    session.on_auth_reply(Reply(outcome, 1, fields), now)


def test_evictable_until_a_password_is_accepted() -> None:
    """X01: those who wait for a backend stay."""
    session, out = begin()
    seen = [(session.state, session.is_evictable, session.user)]
    session.on_client_data(b"a LOGIN john geheim\r\n", 100.0)
    seen.append((session.state, session.is_evictable, session.user))
    reply(session, out, Outcome.OK, ACCEPTED)
    seen.append((session.state, session.is_evictable, session.user))
    session.on_backend_data(b"* O", 102.0)
    seen.append((session.state, session.is_evictable, session.user))
    session.on_backend_lost("gone", 102.0)
    seen.append((session.state, session.is_evictable, session.user))
    assert seen == [
        (State.COMMAND, True, ""),
        (State.AUTH, True, ""),
        (State.DIALLING, False, "john"),
        (State.BACKEND, False, "john"),
        (State.COMMAND, True, "john"),
    ]


def test_too_many_sessions_are_refused_before_a_backend_is_asked() -> None:
    """X03: the client may try again, and a place is given back when there is no session after all."""
    session, out = begin()
    out.has_room = False
    for _ in range(2):
        session.on_client_data(b"a LOGIN john geheim\r\n", 100.0)
        reply(session, out, Outcome.OK, ACCEPTED)
        assert session.state is State.COMMAND
    out.has_room = True
    session.on_client_data(b"b LOGIN john geheim\r\n", 100.0)
    reply(session, out, Outcome.OK, ACCEPTED)
    session.on_backend_lost("gone", 102.0)
    told = [event[0] for event in out.events if event[0] in ("no place", "dial")]
    assert told == ["no place", "no place", "dial"]
    assert out.places_left == 1


def test_sasl_is_evictable() -> None:
    session, out = begin()
    session.on_client_data(b"a AUTHENTICATE PLAIN\r\n", 100.0)
    reply(session, out, Outcome.CONTINUE, {})
    assert session.state is State.SASL
    assert session.is_evictable


@pytest.mark.parametrize("how", ["deadline", "end", "eof"])
def test_a_handshake_that_never_ends(how: str) -> None:
    """T01: nothing is said in the clear while TLS begins; the client may be evicted, and his time runs."""
    out = Recorder()
    session = Session(make_policy(tls_available=True), out, make_client(), b"T")
    session.start(100.0)
    session.on_client_data(b"a STARTTLS\r\nb NOOP\r\n", 100.0)
    assert session.state is State.HANDSHAKE
    assert session.is_evictable
    session.on_client_data(b"c NOOP\r\n", 100.0)
    out.events.clear()
    if how == "deadline":
        session.on_deadline(out.deadline)
    elif how == "end":
        session.end("Shutting down", True, 100.0)
    else:
        session.on_client_eof(100.0)
    assert [event[0] for event in out.events] == ["log", "close"]


def test_paused_client_begins_tls() -> None:
    """T01 P19: a client who was read no more is read again, and what he sent ahead is dropped."""
    out = Recorder()
    session = Session(make_policy(tls_available=True), out, make_client(), b"T")
    session.start(100.0)
    session.on_client_data(b"a LOGIN john geheim\r\n", 100.0)
    session.on_client_data(b"b STARTTLS\r\n" + b"c NOOP\r\n" * (PAUSE_BYTES // 8), 100.0)
    assert out.is_paused
    reply(session, out, Outcome.FAIL, {})
    assert out.events[-1] == ("tls",)
    assert not out.is_paused
    session.on_client_tls_started(101.0)
    assert out.events[-1] == ("tls",)


def test_deadlines() -> None:
    """B01 B02: the backend's is never later than the login's, which stands again after it."""
    session, out = begin()
    assert out.deadline == 280.0
    session.on_client_data(b"a LOGIN john geheim\r\n", 110.0)
    reply(session, out, Outcome.OK, ACCEPTED, 110.0)
    assert out.deadline == 110.0 + PROXY_TIMEOUT_S
    session.on_deadline(out.deadline)
    assert out.deadline == 280.0
    session.on_client_data(b"a LOGIN john geheim\r\n", 270.0)
    reply(session, out, Outcome.OK, ACCEPTED, 270.0)
    assert out.deadline == 280.0


def test_pause_and_resume() -> None:
    """P19: paused once at one buffer, resumed when commands are read again."""
    session, out = begin()
    session.on_client_data(b"a LOGIN john geheim\r\n", 100.0)
    session.on_client_data(b"b NOOP\r\n" * (PAUSE_BYTES // 8 - 1), 100.0)
    assert not out.is_paused
    session.on_client_data(b"b NOOP\r\n", 100.0)
    assert out.is_paused
    session.on_client_data(b"b NOOP\r\n", 100.0)
    reply(session, out, Outcome.FAIL, {})
    assert not out.is_paused
    assert out.events[-1][1].count(b"b OK") == PAUSE_BYTES // 8 + 1


def test_no_resume_while_a_pipelined_login_works() -> None:
    """P19: a second login in the buffer keeps the client waiting."""
    session, out = begin()
    session.on_client_data(b"a LOGIN john geheim\r\n", 100.0)
    session.on_client_data(b"b LOGIN john geheim\r\n" + b"c NOOP\r\n" * (PAUSE_BYTES // 8), 100.0)
    assert out.is_paused
    reply(session, out, Outcome.FAIL, {})
    assert out.is_paused
    reply(session, out, Outcome.FAIL, {})
    assert not out.is_paused


@pytest.mark.parametrize("how", ["detach", "close"])
def test_nothing_has_effect_after_the_end(how: str) -> None:
    """A24: late answers, bytes and times reach nobody (the recorder refuses every call)."""
    session, out = begin()
    session.on_client_data(b"a LOGIN john geheim\r\n", 100.0)
    reply(session, out, Outcome.OK, ACCEPTED)
    if how == "detach":
        session.on_backend_data(b"* OK\r\nT OK\r\n"[:6], 100.0)
        session.on_backend_data(b"T OK\r\n", 100.0)
    else:
        session.on_client_eof(100.0)
    said = len(out.events)
    session.on_client_data(b"b NOOP\r\n", 101.0)
    session.on_backend_data(b"* OK\r\n", 101.0)
    session.on_backend_lost("late", 101.0)
    session.on_auth_reply(Reply(Outcome.OK, 1, ACCEPTED), 101.0)
    session.on_auth_lost(101.0)
    session.on_deadline(1000.0)
    session.on_client_eof(101.0)
    session.end("Shutting down", True, 101.0)
    assert len(out.events) == said


def secrets_in(thing: Any, secret: bytes) -> list[Any]:
    """Search everything that can be reached from `thing`, except types and modules."""
    found, seen, todo = [], set(), [thing]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, type) or callable(item):
            continue
        seen.add(id(item))
        if isinstance(item, bytes | bytearray) and secret in item:
            found.append(item)
        todo.extend(gc.get_referents(item))
    return found


@pytest.mark.parametrize(
    ("protocol", "login"), [("imap", b"a LOGIN john geheim\r\n"), ("pop3", b"USER john\r\nPASS geheim\r\n")]
)
def test_passwords_are_dropped(protocol: str, login: bytes) -> None:
    """C16: the typed one when auth has it, the passdb's one when the backend has it."""
    session, out = begin(protocol)
    session.on_client_data(login, 100.0)
    assert out.events
    out.events.clear()
    assert secrets_in(session, b"geheim") == []
    reply(session, out, Outcome.OK, {**ACCEPTED, b"pass": b"verborgen"})
    assert len(secrets_in(session, b"verborgen")) == 1
    session.on_backend_data(b"* OK\r\n" if protocol == "imap" else b"+OK\r\n", 101.0)
    if protocol == "pop3":
        session.on_backend_data(b"+OK\r\n", 101.0)
    assert out.events[-1][0] == "B"
    assert b"verborgen" in out.events[-1][1]
    out.events.clear()
    assert secrets_in(session, b"verborgen") == []


def test_a_challenge_needs_the_mechanism() -> None:
    out = Recorder()
    Session(make_policy("pop3"), out, make_client(), b"T", b"<1@h>").start(0.0)
    assert out.events == [("C", b"+OK Dovecot ready.\r\n")]


def test_aborted_exchanges_leave_nothing() -> None:
    """P15: ten thousand aborted exchanges cost little and keep nothing."""
    session, out = begin()
    began = time.process_time()
    tracemalloc.start()
    for count in range(10_000):
        session.on_client_data(b"a AUTHENTICATE PLAIN\r\n", 100.0)
        reply(session, out, Outcome.CONTINUE, {})
        session.on_client_data(b"*\r\n", 100.0)
        assert out.events[-1] == ("C", b"a BAD Authentication aborted\r\n")
        out.events.clear()
        if count == 100:
            before, _ = tracemalloc.get_traced_memory()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 4096
    assert time.process_time() - began < 10


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_a_long_line_byte_by_byte(protocol: str) -> None:
    """X13: 8 KiB in single bytes cost under 50 ms of CPU."""
    session, out = begin(protocol)
    began = time.process_time()
    for byte in b"AUTH PLAIN " + b"A" * 8181:
        session.on_client_data(bytes((byte,)), 100.0)
    assert time.process_time() - began < 0.05
    assert not out.is_over
