"""Logins that tests try, many at once, and what the answers to them look like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient, plain
from tests.harness.scripted_backend import Peer, Script

PROTOCOLS = pytest.mark.parametrize("protocol", ["imap", "pop3"])
BEGIN = {"imap": b"a1 AUTHENTICATE PLAIN ", "pop3": b"AUTH PLAIN "}
OK = {"imap": b"a1 OK", "pop3": b"+OK"}
FAILED = {
    "imap": b"a1 NO [AUTHENTICATIONFAILED] Authentication failed.",
    "pop3": b"-ERR [AUTH] Authentication failed.",
}
TEMPORARY = {"imap": b"a1 NO [UNAVAILABLE] ", "pop3": b"-ERR [SYS/TEMP] "}


def sasl(protocol: str, user: bytes, password: bytes, authzid: bytes = b"") -> bytes:
    """Return a login by PLAIN with an initial response."""
    return BEGIN[protocol] + plain(user, password, authzid) + b"\r\n"


def literals(user: bytes, password: bytes) -> bytes:
    """Return an IMAP LOGIN with two non-synchronising literals."""
    return b"a1 LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n" % (len(user), user, len(password), password)


def replies(arena: Arena, protocol: str, attempts: list[bytes]) -> list[bytes]:
    """Return the reply to each, all at once on connections of their own: failures are delayed."""
    return take_replies(send_all(arena, protocol, attempts))


def send_all(arena: Arena, protocol: str, attempts: list[bytes]) -> list[RawClient]:
    """Send each on a connection of its own."""
    clients = [arena.client(protocol) for _ in attempts]
    for client, attempt in zip(clients, attempts, strict=True):
        client.send(attempt)
    return clients


def take_replies(clients: list[RawClient]) -> list[bytes]:
    """Return the next line of each, and close it."""
    lines = [client.line() for client in clients]
    for client in clients:
        client.close()
    return lines


def check_refused(arena: Arena, logins: Callable[[str], list[bytes]]) -> None:
    """Assert that on both ports every login fails like a wrong password, and no backend hears of it."""
    waiting = {protocol: send_all(arena, protocol, logins(protocol)) for protocol in FAILED}
    for protocol, clients in waiting.items():
        answers = take_replies(clients)
        assert set(answers) == {FAILED[protocol]}, answers
    assert not arena.imap.peers
    assert not arena.pop3.peers


def reply(arena: Arena, user: bytes, password: bytes, protocol: str = "imap") -> bytes:
    """Return the reply to one login by PLAIN."""
    return replies(arena, protocol, [sasl(protocol, user, password)])[0]


def record_login(protocol: str, seen: list[tuple[bytes, bytes]]) -> Script:
    """Return a script of a real server: it decodes user and password, accepts, and waits."""

    def script(peer: Peer) -> None:
        if protocol == "imap":
            peer.send(b"* OK backend\r\n")
            tag, user, password = peer.imap_login()
            seen.append((user, password))
            peer.send(tag + b" OK in\r\n")
        else:
            peer.send(b"+OK backend\r\n")
            seen.append(peer.pop3_login())
            peer.send(b"+OK in\r\n")
        peer.until_end()

    return script
