"""A mail client that sends bytes as a test wants them, one write at a time."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
from typing import Self

HOST = "127.0.0.1"
PATIENCE_S = 30.0
# IP_BIND_ADDRESS_NO_PORT of ip(7).
_BIND_ADDRESS_NO_PORT = 24
_RESET = struct.pack("ii", 1, 0)


class RawClient:
    """Owns one connection to a port of the proxy; `close` ends it by FIN, `reset` by RST."""

    def __init__(self, port: int, greet: bool = True, source: str = HOST, rcvbuf_bytes: int = 0) -> None:
        """With `rcvbuf_bytes` take no more than about that ahead of what is read."""
        self.socket = socket.socket()
        if rcvbuf_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf_bytes)
        self.socket.settimeout(PATIENCE_S)
        self._in = b""
        # The port is chosen by connect, which may take one that is free towards this server alone: twenty
        # thousand clients leave no other.
        self.socket.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        try:
            self.socket.bind((source, 0))
            self.socket.connect((HOST, port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.greeting = self.line() if greet else b""
        except OSError:
            self.socket.close()
            raise

    def send(self, data: bytes) -> None:
        """Send in one write."""
        self.socket.sendall(data)

    def _read(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self._in += data
        return bool(data)

    def line(self) -> bytes:
        """Take the next line without its end; what is left before the end of the connection, then nothing."""
        while b"\n" not in self._in and self._read():
            pass
        line, _, self._in = self._in.partition(b"\n")
        return line.removesuffix(b"\r")

    def lines(self, count: int) -> list[bytes]:
        """Take that many lines."""
        return [self.line() for _ in range(count)]

    def ask(self, data: bytes) -> bytes:
        """Send, and take the next line."""
        self.send(data)
        return self.line()

    def take(self, count: int) -> bytes:
        """Take that many bytes, fewer at the end of the connection."""
        while len(self._in) < count and self._read():
            pass
        data, self._in = self._in[:count], self._in[count:]
        return data

    def rest(self) -> bytes:
        """Take everything up to the end of the connection, which has to come."""
        while self._read():
            pass
        data, self._in = self._in, b""
        return data

    def is_silent(self, for_s: float) -> bool:
        """Tell whether nothing comes for so long."""
        if self._in:
            return False
        self.socket.settimeout(for_s)
        try:
            self._in += self.socket.recv(65536)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_S)
        return False

    def half_close(self) -> None:
        """End our half by FIN."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()

    def close(self) -> None:
        """End by FIN."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


def plain(user: bytes, password: bytes, authzid: bytes = b"") -> bytes:
    """Return the base64 of a SASL PLAIN message (RFC 4616)."""
    return b64(authzid + b"\0" + user + b"\0" + password)


def quoted(value: bytes) -> bytes:
    """Return an IMAP quoted string."""
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
