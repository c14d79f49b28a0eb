"""Which protocols a client asks for when TLS begins (ALPN, RFC 7301), read before the library sees it.

A browser that somebody sends to a mail port asks for `http/1.1`, and must not get as far as a mail dialogue.
The library's server can only go on without a protocol then, so the first record is looked at from outside.
"""

from __future__ import annotations

import socket
from socket import SocketType

# Alert, TLS 1.2 on the record, 2 bytes: fatal, no_application_protocol (RFC 7301 3.2).
NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
# A record's header and the most that it may hold.
PEEK_BYTES = 5 + 16384

_PEEK = int(socket.MSG_PEEK)
_CLIENT_HELLO = 1
_ALPN = 16
_ALPN_BYTES = _ALPN.to_bytes(2, "big")


class FirstLook:
    """Waits for a client's first record and leaves it in the socket, which stays the caller's."""

    __slots__ = ("_awaited_bytes", "_sock", "_wanted")

    def __init__(self, sock: SocketType, wanted: bytes) -> None:
        self._sock = sock
        self._wanted = wanted
        self._awaited_bytes = 0

    def is_refused(self) -> bool | None:
        """Whether the client must be sent away; None until more of him is readable. Raises OSError."""
        try:
            data = self._sock.recv(PEEK_BYTES, _PEEK)
        except BlockingIOError:
            return None
        found = asks_for_others(data, self._wanted) if data else False
        if found is None:
            needed = 5 + int.from_bytes(data[3:5], "big") if len(data) >= 5 else 5
            if needed > self._awaited_bytes:
                # What stays in the socket would wake us up again at once, and for as long as he likes.
                self._awaited_bytes = needed
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, needed)
                return None
            found = False  # He has ended too early: the library will notice.
        if self._awaited_bytes:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return found


def asks_for_others(data: bytes, wanted: bytes) -> bool | None:
    """Whether a client names protocols and `wanted` is none of them; None until its first record is whole.

    False for whatever is no ClientHello in one record: the library says what is wrong with it.
    """
    if data[:1] not in (b"", b"\x16"):
        return False
    if len(data) < 5:
        return None
    length = int.from_bytes(data[3:5], "big")
    if length > PEEK_BYTES - 5:
        return False
    if len(data) < 5 + length:
        return None
    if _ALPN_BYTES not in data:
        return False  # As in most mail programs, which saves the walk.
    try:
        names = _protocols(data[5 : 5 + length])
    except IndexError:
        return False
    return bool(names) and wanted not in names


def _protocols(hello: bytes) -> list[bytes]:
    """Walk to the extension (RFC 8446 4.1.2). Raises IndexError for what ends too early."""
    if hello[0] != _CLIENT_HELLO:
        return []
    at = 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + (hello[at] << 8 | hello[at + 1])
    at += 1 + hello[at]
    at += 2
    while at < len(hello):
        kind, length = hello[at] << 8 | hello[at + 1], hello[at + 2] << 8 | hello[at + 3]
        at += 4
        if kind == _ALPN:
            return _names(hello[at + 2 : at + length])
        at += length
    return []


def _names(data: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(data):
        found.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return found
