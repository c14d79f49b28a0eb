"""Rows P01, P22, B01, B02: what only a clock ends, with short deadlines."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterable

import pytest

from tests.harness.arena import Arena
from tests.harness.oracles import Oracles
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import Gone, Peer, imap_echo, pop3_echo
from tests.harness.wait import wait_until

LOGIN_S = 2.0
PROXY_S = 1.0
SETTINGS = f"login_timeout = {LOGIN_S:.0f}\nlogin_proxy_timeout = {PROXY_S:.0f}\n"

PROTOCOLS = pytest.mark.parametrize("protocol", ["imap", "pop3"])
LOGIN = {
    "imap": [b"a1 LOGIN john John-Secret-11\r\n"],
    "pop3": [b"USER john\r\n", b"PASS John-Secret-11\r\n"],
}
TEMPORARY = {"imap": b"a1 NO [UNAVAILABLE] ", "pop3": b"-ERR [SYS/TEMP] "}
FAREWELL = {"imap": b"* BYE ", "pop3": b"-ERR "}


def log_in(client: RawClient, protocol: str, user: bytes = b"john") -> bytes:
    """Return the last reply of a login."""
    reply = b""
    for line in LOGIN[protocol]:
        reply = client.ask(line.replace(b"john", user))
    return reply


def drip_until_closed(client: RawClient, pieces: Iterable[bytes], pause_s: float) -> list[bytes]:
    """Send a piece every `pause_s` until the proxy ends the connection; returns the lines it said."""
    said = b""
    client.socket.setblocking(False)
    for piece in pieces:
        next_at = time.monotonic() + pause_s
        while (left_s := next_at - time.monotonic()) > 0:
            if select.select([client.socket], [], [], left_s)[0]:
                data = client.socket.recv(4096)
                if not data:
                    return said.split(b"\r\n")
                said += data
        client.send(piece)
    raise AssertionError("the proxy did not end the connection")


@PROTOCOLS
def test_one_byte_now_and_then(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """P01: the deadline runs from accept and no input renews it; one info line tells."""
    start = time.monotonic()
    with arena.client(protocol) as client:
        said = drip_until_closed(client, [b"A"] * 30, 0.3)
    took_s = time.monotonic() - start
    assert LOGIN_S - 1 < took_s < LOGIN_S + 1, f"{took_s:.2f} s"
    assert said[0].startswith(FAREWELL[protocol])
    line = b"Info: %s-login: Disconnected: Inactivity" % protocol.encode()
    wait_until("the end is logged", lambda: oracles.log_since_begin().count(line) == 1)


def test_good_commands_do_not_renew_the_deadline(arena: Arena) -> None:
    """P22, P01: good commands and, below their limit, bad ones: the deadline still ends the session."""
    start = time.monotonic()
    commands = [b"a FOO\r\n" if number in (2, 5) else b"a NOOP\r\n" for number in range(40)]
    with arena.client() as client:
        said = drip_until_closed(client, commands, 0.2)
    assert LOGIN_S - 1 < time.monotonic() - start < LOGIN_S + 1
    assert said[-2].startswith(b"* BYE ")
    assert sum(line.startswith(b"a BAD ") for line in said) == 2
    with arena.client() as client:
        client.send(b"a FOO\r\na NOOP\r\n" * 4)
        rest = client.rest()
    assert rest.count(b"a BAD ") == 2
    assert rest.count(b"* BYE ") == 1


@PROTOCOLS
def test_failed_logins_do_not_renew_the_deadline(arena: Arena, protocol: str) -> None:
    """P22: neither do refused logins."""
    start = time.monotonic()
    attempt = b"".join(LOGIN[protocol]).replace(b"john", b"mary")
    with arena.client(protocol) as client:
        said = drip_until_closed(client, [attempt] * 40, 0.25)
    assert LOGIN_S - 1 < time.monotonic() - start < LOGIN_S + 1
    assert any(b"AUTH" in line for line in said)
    assert said[-2].startswith(FAREWELL[protocol])


@PROTOCOLS
def test_deadline_within_a_lookup(arena: Arena, protocol: str) -> None:
    """P01: a database that does not answer is no reason to stay either."""
    arena.database.execute("BEGIN EXCLUSIVE")
    try:
        start = time.monotonic()
        with arena.client(protocol) as client:
            client.send(b"".join(LOGIN[protocol]))
            *_, said, nothing = client.rest().split(b"\r\n")
            assert LOGIN_S - 1 < time.monotonic() - start < LOGIN_S + 1
            assert said.startswith(FAREWELL[protocol])
            assert nothing == b""
    finally:
        arena.database.execute("ROLLBACK")


@PROTOCOLS
def test_closed_port(arena: Arena, protocol: str) -> None:
    """B01: refused at once; the client may try again on the same connection, and others do not notice."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    arena.add("closed" + protocol, None, port, port)
    with arena.client(protocol) as client:
        start = time.monotonic()
        for _ in range(3):
            assert log_in(client, protocol, b"closed" + protocol.encode()).startswith(TEMPORARY[protocol])
        assert time.monotonic() - start < 0.5
        assert log_in(client, protocol).startswith((b"a1 OK", b"+OK"))


@PROTOCOLS
def test_silent_backend(arena: Arena, protocol: str) -> None:
    """B01: a backend that accepts and says nothing: temporary by the timeout, and one may try again."""
    backend = arena.imap if protocol == "imap" else arena.pop3
    backend.play(Peer.until_end)
    with arena.client(protocol) as client:
        start = time.monotonic()
        assert log_in(client, protocol).startswith(TEMPORARY[protocol])
        took_s = time.monotonic() - start
        assert PROXY_S - 0.1 < took_s < PROXY_S + 0.5, f"{took_s:.2f} s"
        (peer,) = backend.wait_peers(1)
        assert peer.received == b""
        backend.play(imap_echo if protocol == "imap" else pop3_echo)
        assert log_in(client, protocol).startswith((b"a1 OK", b"+OK"))


def test_listener_that_never_accepts(arena: Arena) -> None:
    """B01: its queue is full, so connects hang: temporary by the timeout; others are served meanwhile."""
    with socket.socket() as listener, socket.socket() as filler_1, socket.socket() as filler_2:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for filler in (filler_1, filler_2):
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        arena.add("full", None, port, port)
        with arena.client() as client:
            start = time.monotonic()
            client.send(LOGIN["imap"][0].replace(b"john", b"full"))
            arena.login("imap", b"guest", arena.GUEST).close()
            assert time.monotonic() - start < 0.5
            assert client.line().startswith(TEMPORARY["imap"])
            assert PROXY_S - 0.1 < time.monotonic() - start < PROXY_S + 0.5
            assert log_in(client, "imap").startswith(b"a1 OK")
    arena.house_imap.wait_peers(1)
    arena.house_imap.peers.clear()


def test_unreachable_backend(arena: Arena) -> None:
    """B01: an address that no route leads to is a temporary failure at once or by the timeout."""
    arena.add("far", None, 1, 1, host="240.0.0.1")
    with arena.client() as client:
        start = time.monotonic()
        assert log_in(client, "imap", b"far").startswith(TEMPORARY["imap"])
        assert time.monotonic() - start < PROXY_S + 0.5


@PROTOCOLS
def test_dripping_backend(arena: Arena, protocol: str) -> None:
    """B02: one deadline over connect and login, however the bytes drip."""
    backend = arena.imap if protocol == "imap" else arena.pop3
    over = threading.Event()

    def drip(peer: Peer) -> None:
        greeting = b"* OK a very slow greeting\r\n" if protocol == "imap" else b"+OK a very slow greeting\r\n"
        for number in range(len(greeting)):
            peer.send(greeting[number : number + 1])
            if over.wait(0.3):
                return

    backend.play(drip)
    with arena.client(protocol) as client:
        start = time.monotonic()
        assert log_in(client, protocol).startswith(TEMPORARY[protocol])
        took_s = time.monotonic() - start
        over.set()
        assert PROXY_S - 0.1 < took_s < PROXY_S + 0.5, f"{took_s:.2f} s"
    (peer,) = backend.wait_peers(1)
    assert peer.received == b""


def test_dripping_after_the_password(arena: Arena) -> None:
    """B02: the same deadline holds for the backend's answer to LOGIN; nothing is sent twice."""
    over = threading.Event()

    def drip(peer: Peer) -> None:
        peer.send(b"* OK backend\r\n")
        peer.imap_login()
        while not over.wait(0.2):
            peer.send(b"* still busy\r\n")

    arena.imap.play(drip)
    with arena.client() as client:
        start = time.monotonic()
        assert log_in(client, "imap").startswith(TEMPORARY["imap"])
        over.set()
        assert PROXY_S - 0.1 < time.monotonic() - start < PROXY_S + 0.5
        (peer,) = arena.imap.wait_peers(1)
        assert peer.received.count(b"LOGIN") == 1
        arena.imap.play(imap_echo)
        assert log_in(client, "imap").startswith(b"a1 OK")


def test_backends_time_is_within_the_logins(arena: Arena) -> None:
    """B02, P01: a late attempt at a silent backend ends with the login's own deadline."""

    def silent(peer: Peer) -> None:
        try:
            peer.line()
        except Gone:
            return

    arena.imap.play(silent)
    start = time.monotonic()
    with arena.client() as client:
        assert client.is_silent(LOGIN_S - 0.5)
        assert log_in(client, "imap").startswith(b"* BYE ")
        assert LOGIN_S - 0.2 < time.monotonic() - start < LOGIN_S + 0.5
        assert client.rest() == b""
    arena.imap.wait_peers(1)
