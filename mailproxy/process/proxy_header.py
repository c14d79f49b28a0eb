"""Reading the PROXY header that stands before everything else on a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from socket import SocketType

from mailproxy.net.reactor import Reactor
from mailproxy.proto.haproxy import LIMIT_BYTES, Endpoints, parse


class ProxyHeader:
    """Takes just the header off a socket that is watched for READ and stays the caller's.

    `on_header` gets whose connection it is, None if the proxy speaks for itself; `on_failed` is told why
    there is no header. Neither is called from within the constructor.
    """

    __slots__ = ("_on_failed", "_on_header", "_sock", "_waited")

    def __init__(
        self,
        reactor: Reactor,
        sock: SocketType,
        on_header: Callable[[Endpoints | None], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._sock = sock
        self._on_header = on_header
        self._on_failed = on_failed
        self._waited = False
        reactor.replace(sock.fileno(), self._on_readable)

    def _on_readable(self, _events: int) -> None:
        try:
            data = self._sock.recv(LIMIT_BYTES, socket.MSG_PEEK)
            header = parse(data) if data else None
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self._on_failed(str(error))
            return
        if header is None:
            if not data or len(data) >= LIMIT_BYTES or self._ended(len(data)):
                self._on_failed("no whole PROXY header")
            return
        try:
            if self._waited:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            self._sock.recv(header.length_bytes)
        except OSError as error:  # Reset since we looked.
            self._on_failed(str(error))
            return
        self._on_header(header.endpoints)

    def _ended(self, held_bytes: int) -> bool:
        """Sleep until there is more than now; whether there will not be any."""
        # What stays in the socket would wake us up at once, again and again.
        low_bytes = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        if self._waited and held_bytes < low_bytes:
            return True
        self._waited = True
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, held_bytes + 1)
        return False
