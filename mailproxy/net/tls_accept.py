"""The handshake with a client: a look at what he asks for, then TLS."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from socket import SocketType

from mailproxy.net.client_hello import NO_APPLICATION_PROTOCOL, FirstLook
from mailproxy.net.reactor import READ, WRITE, Reactor
from mailproxy.net.tls import TlsSocket


class TlsAccept:
    """Owns the socket, which is watched for READ, until `on_done` gets the TLS socket; `close` closes it.

    `on_failed` is told why, and the socket is closed then. Neither is called from within the constructor.
    """

    __slots__ = (
        "_context",
        "_events",
        "_has_spoken",
        "_look",
        "_on_done",
        "_on_failed",
        "_reactor",
        "_stream",
    )

    def __init__(
        self,
        reactor: Reactor,
        sock: SocketType,
        context: ssl.SSLContext,
        protocol: bytes,
        on_done: Callable[[TlsSocket], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._context = context
        self._on_done = on_done
        self._on_failed = on_failed
        self._stream: SocketType | TlsSocket | None = sock
        self._look = FirstLook(sock, protocol)
        self._events = READ
        self._has_spoken = False
        reactor.replace(sock.fileno(), self._on_first_record)

    def _on_first_record(self, _events: int) -> None:
        plain = self._stream
        if not isinstance(plain, SocketType):
            return
        try:
            is_refused = self._look.is_refused()
            if is_refused is None:
                return
            if is_refused:
                plain.send(NO_APPLICATION_PROTOCOL)
                self._fail("no application protocol in common")
                return
        except OSError as error:
            self._fail(error.strerror or "connection lost")
            return
        fd = plain.fileno()
        self._stream = None
        try:
            self._stream = TlsSocket(plain, self._context, is_server=True)
        except (OSError, ValueError):
            self._reactor.forget(fd)
            self._on_failed("connection lost")
            return
        self._reactor.replace(fd, self._on_handshake)
        self._on_handshake(READ)

    def _on_handshake(self, _events: int) -> None:
        stream = self._stream
        if not isinstance(stream, TlsSocket):
            return
        # What answers the client's last word of the handshake (tickets, one packet each) leaves together with
        # the greeting; each packet costs the kernel 10 to 30 us.
        if self._has_spoken:
            stream.hold()
        try:
            done = stream.handshake()
        except OSError as error:
            stream.let_go()  # The alert, which a socket that is closed with bytes unread would lose.
            self._fail(error.strerror or str(error))
            return
        events = WRITE if stream.waits_to_write else READ
        if events != self._events:
            self._events = events
            self._reactor.change(stream.fileno(), events)
        if done:
            self._stream = None
            self._on_done(stream)
        if self._has_spoken:
            stream.let_go()
        self._has_spoken = True

    def _fail(self, why: str) -> None:
        self.close()
        self._on_failed(why)

    def close(self) -> None:
        """Close the socket; nothing more is told."""
        if self._stream is not None:
            self._reactor.forget(self._stream.fileno())
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
