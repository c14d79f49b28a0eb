"""Rows B03 to B10 and B20: backends that leave, greet wrongly, or talk out of turn."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tests.harness.arena import Arena
from tests.harness.attempts import OK, PROTOCOLS, TEMPORARY
from tests.harness.backend_attempts import BANNER, answers, attempt, log_in, says, scripted
from tests.harness.oracles import Oracles, memory_kib
from tests.harness.scripted_backend import Peer, Script
from tests.harness.wait import wait_until

MODES = ("shared", "per-connection")
SETTINGS = "login_proxy_timeout = 5\nlogin_proxy_max_reconnects = 1\n"


def leave_at(protocol: str, state: str, leave: Callable[[Peer], None]) -> Script:
    """Play an honest backend up to `state`, then leave."""

    def script(peer: Peer) -> None:
        peer.send(BANNER[protocol][: 4 if state == "inside the greeting" else None])
        if state in ("after USER", "after LOGIN"):
            peer.line()
        elif state == "after PASS":
            peer.pop3_login()
        elif state == "after half of OK":
            tag = peer.imap_login()[0] if protocol == "imap" else b""
            peer.send(tag + b" O" if protocol == "imap" else (peer.pop3_login() and b"+O"))
        leave(peer)

    return script


STATES = {
    "imap": [
        "inside the greeting",
        "after the greeting",
        "after LOGIN",
        "after half of OK",
    ],
    "pop3": [
        "inside the greeting",
        "after the greeting",
        "after USER",
        "after PASS",
        "after half of OK",
    ],
}


@PROTOCOLS
@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
def test_backend_leaves(arena: Arena, protocol: str, leave: Callable[[Peer], None], oracles: Oracles) -> None:
    """B03: FIN and RST once it has spoken: temporary, one error line, no second attempt."""
    for number, state in enumerate(STATES[protocol], 1):
        reply, peer = attempt(arena, protocol, leave_at(protocol, state, leave))
        assert reply.startswith(TEMPORARY[protocol]), (state, reply)
        assert peer.received.count(Arena.JOHN) <= 1
        wait_until(
            f"one error line for each, now {state}",
            lambda n=number: oracles.log_since_begin().count(b" Error: ") == n,  # type: ignore[misc]
        )
    for line in oracles.log_since_begin().splitlines():
        assert line.count(b"connect(") <= 1, line


@PROTOCOLS
@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
def test_backend_leaves_before_its_greeting(
    arena: Arena, protocol: str, leave: Callable[[Peer], None], oracles: Oracles
) -> None:
    """B03: nothing was sent yet, so it is tried again, as often as is set; then temporary."""
    backend = scripted(arena, protocol)
    honest = backend.script
    backend.play(lambda peer: leave(peer) if len(backend.peers) == 1 else honest(peer))
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(OK[protocol])
    first, second = backend.wait_peers(2)
    assert first.received == b""
    assert Arena.JOHN in second.received
    backend.play(leave)
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(TEMPORARY[protocol])
    assert [peer.received for peer in backend.wait_peers(2)] == [b"", b""]
    # One error line for the login that failed, whatever the number of tries.
    wait_until("it is logged", lambda: b", after 1 reconnects" in oracles.log_since_begin())
    assert oracles.log_since_begin().count(b" Error: ") == 1


@PROTOCOLS
@pytest.mark.parametrize(
    "banner",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\xfe\r\n",
        b"\x1b[2J\x1b]0;title\x07%s%n%p\x85\xff\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\0\0\0\n",
        b"\r\n",
    ],
)
def test_foreign_greeting(arena: Arena, protocol: str, banner: bytes) -> None:
    """B04, B19: temporary; no password is sent; the log shows it escaped and cut."""
    reply, peer = attempt(arena, protocol, says(banner))
    assert reply.startswith(TEMPORARY[protocol])
    assert peer.received == b""


@PROTOCOLS
@pytest.mark.parametrize("data", [b"+OK " + b"x" * 100_000, b"* OK \x1b[31m%s%n" + b"y" * 100_000 + b"\r\n"])
def test_line_without_end(arena: Arena, protocol: str, data: bytes) -> None:
    """B05, B19: a line past its limit ends the attempt at once; the log line stays short."""
    start = time.monotonic()
    reply, peer = attempt(arena, protocol, says(data))
    assert reply.startswith(TEMPORARY[protocol])
    assert time.monotonic() - start < 2
    assert peer.received == b""


def test_endless_untagged_lines(arena: Arena) -> None:
    """B05: a million untagged lines: given up after a hundred, memory and CPU flat."""

    def script(peer: Peer) -> None:
        peer.send(BANNER["imap"])
        peer.imap_login()
        for _ in range(200):
            peer.send(b"* x\r\n" * 5000)

    before_kib = memory_kib(arena, "imap-login")
    start = time.monotonic()
    reply, _ = attempt(arena, "imap", script)
    assert reply.startswith(TEMPORARY["imap"])
    assert time.monotonic() - start < 2
    assert memory_kib(arena, "imap-login") - before_kib < 512


def test_literal_in_a_reply(arena: Arena) -> None:
    """B06: `{1000000000}` in a line before the login is text; nothing is allocated or awaited."""
    before_kib = memory_kib(arena, "imap-login")

    def script(peer: Peer) -> None:
        peer.send(b"* OK {1000000000}\r\n")
        tag, _, _ = peer.imap_login()
        peer.send(b"* OK {1000000000}\r\n" + tag + b" OK in\r\n")
        peer.until_end()

    reply, _ = attempt(arena, "imap", script)
    assert reply == b"a1 OK in"
    assert memory_kib(arena, "imap-login") - before_kib < 512


@PROTOCOLS
def test_wrong_greeting(arena: Arena, protocol: str) -> None:
    """B07: PREAUTH, BYE, NO, a greeting of the other protocol: no password, temporary."""
    imap = [
        b"* PREAUTH in already",
        b"* BYE full",
        b"* NO",
        b"+OK",
        b"* BAD",
        b"*",
        b"OK",
        b"* OKAY",
        b"a1 OK",
    ]
    pop3 = [b"-ERR busy", b"* OK", b"+OKAY", b"+", b"+ OK"]
    for banner in imap if protocol == "imap" else pop3:
        reply, peer = attempt(arena, protocol, says(banner + b"\r\n"))
        assert reply.startswith(TEMPORARY[protocol]), (banner, reply)
        assert peer.received == b"", banner


def test_answers_before_questions(arena: Arena) -> None:
    """B08: success lines queued behind the greeting: no relay begins, and tags cannot be foreseen."""
    early = b"* OK hi\r\nP OK in\r\na1 OK in\r\nP00000000 OK in\r\n* OK\r\n"
    reply, _ = attempt(arena, "imap", says(early))
    assert reply.startswith(TEMPORARY["imap"])
    reply, peer = attempt(arena, "pop3", says(b"+OK hi\r\n+OK user\r\n+OK in\r\n"))
    assert reply.startswith(TEMPORARY["pop3"])
    assert b"PASS" not in peer.received


def test_backend_tags_differ(arena: Arena) -> None:
    """B08: each connection has a tag of its own."""
    arena.imap.play(answers(b"TAG NO\r\n"))
    for _ in range(50):
        with arena.client() as client:
            log_in(client, "imap")
    peers = arena.imap.wait_peers(50)
    assert len({bytes(peer.received).split(b" ")[0] for peer in peers}) == 50


@PROTOCOLS
def test_no_line_waits_for_the_next(arena: Arena, protocol: str) -> None:
    """B09: a login whose answers come without delay takes no waiting."""
    start = time.monotonic()
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(OK[protocol])
        assert time.monotonic() - start < 0.2


@PROTOCOLS
@pytest.mark.parametrize("size", [1, 5000, 300_000])
def test_data_behind_the_ok(arena: Arena, protocol: str, size: int) -> None:
    """B10: what comes in the same segment as the OK reaches the client, in order, once."""
    data = bytes(i % 251 for i in range(size))

    def script(peer: Peer) -> None:
        peer.send(BANNER[protocol])
        if protocol == "imap":
            tag, _, _ = peer.imap_login()
            peer.send(tag + b" OK in\r\n" + data)
        else:
            peer.pop3_login()
            peer.send(b"+OK in\r\n" + data)
        peer.echo()

    scripted(arena, protocol).play(script)
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(OK[protocol])
        assert client.take(size) == data
        client.send(b"and back")
        assert client.take(8) == b"and back"


@PROTOCOLS
@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
def test_backend_dies_in_the_relay(
    arena: Arena, protocol: str, leave: Callable[[Peer], None], oracles: Oracles
) -> None:
    """B20: the client gets what was received, then the end; one info line with bytes and side."""
    data = b"* data\r\n" * 4000

    def script(peer: Peer) -> None:
        peer.send(BANNER[protocol])
        if protocol == "imap":
            tag, _, _ = peer.imap_login()
            peer.send(tag + b" OK in\r\n")
        else:
            peer.pop3_login()
            peer.send(b"+OK in\r\n")
        peer.line()
        peer.send(data)
        peer.line()
        leave(peer)

    scripted(arena, protocol).play(script)
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(OK[protocol])
        client.send(b"go\r\n")
        assert client.take(len(data)) == data
        client.send(b"go\r\n")
        assert client.rest() == b""
    line = (
        rb"Info: %s-login: proxy\(john\): disconnecting 127.0.0.1 \(Disconnected by server, in=8, out=(\d+)\)"
    )
    found = wait_until(
        "it is logged", lambda: re.findall(line % protocol.encode(), oracles.log_since_begin())
    )
    assert len(found) == 1
    # The reply to the login goes the same way.
    assert len(data) <= int(found[0]) <= len(data) + len(b"a1 OK in\r\n")
