"""The connection to a backend while the login there goes on: connect, maybe TLS, bytes both ways."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from socket import SocketType
from typing import Protocol

from mailproxy.net.reactor import READ, WRITE, Reactor
from mailproxy.net.tls import Stream, TlsSocket
from mailproxy.net.tls_context import TlsContexts, why_refused
from mailproxy.session.out import BackendTls

# More would cost 1 us a read: the C library wipes what it gives and takes (process/scrub.py).
_READ_BYTES = 4096
# socket.socket wraps this class in Python code that costs a microsecond a socket and does nothing for us.
_NON_BLOCKING_STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
# IP_BIND_ADDRESS_NO_PORT of ip(7): connect chooses the port, which sessions to other backends may have too.
_BIND_ADDRESS_NO_PORT = 24


class Listener(Protocol):
    """Who hears of the backend. Each call may hang up."""

    def on_backend_data(self, data: bytes) -> None:
        """Bytes of the backend."""

    def on_backend_tls(self) -> None:
        """The handshake that `start_tls` began is done."""

    def on_backend_lost(self, why: str, is_final: bool) -> None:
        """The backend cannot be reached, or is gone; the link is closed. `why` is printable.

        `is_final` if another try cannot help: TLS did not come about.
        """


class BackendLink:
    """Owns its socket until `release` or `close`. Never calls the listener from within a call of his."""

    # fmt: off
    __slots__ = (
        "_events", "_header", "_host", "_is_over", "_listener", "_look", "_name", "_port", "_reactor",
        "_stream", "_tls", "_tls_at_once", "_unsent",
    )
    # fmt: on

    def __init__(
        self,
        reactor: Reactor,
        listener: Listener,
        tls: TlsContexts | None,
        look: Callable[[TlsSocket, str, str, int], None] | None = None,
    ) -> None:
        """Let `look` see each backend after its handshake: the name expected there, address and port."""
        self._look = look
        self._host, self._port, self._name = "", 0, ""
        self._reactor = reactor
        self._listener = listener
        self._tls = tls
        self._stream: Stream | None = None
        self._tls_at_once: BackendTls | None = None
        self._header = b""
        self._events = READ
        self._unsent = b""
        self._is_over = False

    def dial(self, host: str, port: int, tls: BackendTls | None, source_ip: str, header: bytes = b"") -> None:
        """Begin to connect to an IP address; the first bytes, or the loss, tell how it went.

        `header` is sent first of all, in the clear.
        """
        self._host, self._port = host, port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            stream = SocketType(family, _NON_BLOCKING_STREAM)
        except OSError as error:
            self._lose_soon(error)
            return
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            if source_ip:
                stream.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                stream.bind((source_ip, 0))
            code = stream.connect_ex((host, port))
        except OSError as error:
            stream.close()
            self._lose_soon(error)
            return
        if code not in (0, errno.EINPROGRESS):
            stream.close()
            self._lose_soon(OSError(code, os.strerror(code)))
            return
        self._stream = stream
        self._tls_at_once, self._header = tls, header
        # Connected is when we may speak first; else the backend's first bytes say it as well.
        speaks_first = tls is not None or header
        self._events = WRITE if speaks_first else READ
        callback = self._on_connected if speaks_first else self._on_events
        self._reactor.add(stream.fileno(), self._events, callback)

    def _lose_soon(self, error: OSError) -> None:
        """Tell the listener after he has finished what he is doing, unless he has hung up by then."""
        why, is_final = error.strerror or "no socket", error.errno == errno.EPROTO

        def lose() -> None:
            if not self._is_over:
                self._lose(why, is_final)

        self._reactor.flush_soon(lose)

    def _lose(self, why: str, is_final: bool = False) -> None:
        self.close()
        self._listener.on_backend_lost(why, is_final)

    def _watch(self, events: int) -> None:
        if events != self._events and self._stream is not None:
            self._events = events
            self._reactor.change(self._stream.fileno(), events)

    # -- TLS ----------------------------------------------------------------------------------------------

    def _on_connected(self, _events: int) -> None:
        stream = self._stream
        if not isinstance(stream, SocketType):
            return
        code = stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(os.strerror(code))
            return
        try:
            # The first bytes of a connection always find room.
            if self._header and stream.send(self._header) < len(self._header):
                raise OSError(errno.EPIPE, "no room for the PROXY header")
        except OSError as error:
            self._lose(error.strerror or "write failed")
            return
        if self._tls_at_once is None:
            self._watch(READ)
            self._reactor.replace(stream.fileno(), self._on_events)
        elif self._wrap(self._tls_at_once):
            self._on_handshake(0)

    def start_tls(self, tls: BackendTls) -> None:
        """Begin the handshake on a connection that has been in the clear."""
        if self._wrap(tls):
            self._watch(READ | WRITE)

    def _wrap(self, tls: BackendTls) -> bool:
        if self._tls is None or not isinstance(self._stream, SocketType):
            self._lose_soon(OSError(errno.EPROTO, "TLS to backends is not set up"))
            return False
        self._name = tls.name
        context = self._tls.verifying if tls.verify else self._tls.trusting
        fd = self._stream.fileno()
        try:
            self._stream = TlsSocket(self._stream, context, is_server=False, name=tls.name)
        except (OSError, ValueError) as error:  # The socket is closed.
            self._reactor.forget(fd)
            self._stream = None
            self._lose_soon(OSError(errno.EPROTO, f"TLS: {error}"))
            return False
        self._reactor.replace(self._stream.fileno(), self._on_handshake)
        return True

    def _on_handshake(self, _events: int) -> None:
        stream = self._stream
        if not isinstance(stream, TlsSocket):
            return
        try:
            done = stream.handshake()
        except ssl.SSLCertVerificationError as error:
            self._lose(why_refused(error, self._tls), is_final=True)
            return
        except OSError as error:
            self._lose(f"TLS handshake failed: {error.strerror or error}", is_final=True)
            return
        if not done:
            self._watch(WRITE if stream.waits_to_write else READ)
            return
        self._watch(READ)
        self._reactor.replace(stream.fileno(), self._on_events)
        if self._look is not None:
            self._look(stream, self._name, self._host, self._port)
        if self._tls_at_once is None:
            self._listener.on_backend_tls()

    # -- bytes --------------------------------------------------------------------------------------------

    def _on_events(self, events: int) -> None:
        stream = self._stream
        if stream is None:
            return
        if events & WRITE:
            data, self._unsent = self._unsent, b""
            self.send(data)
        if not events & ~WRITE:
            return
        try:
            data = stream.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or "read failed")
            return
        if data:
            self._listener.on_backend_data(data)
        else:
            self._lose("connection closed")

    def send(self, data: bytes) -> None:
        """Queue bytes."""
        if self._stream is None:
            return
        if not self._unsent:
            try:
                data = data[self._stream.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                data = b""  # The next read tells.
        self._unsent += data
        if self._unsent or self._events != READ:
            self._watch(READ | WRITE if self._unsent else READ)

    def release(self) -> tuple[Stream, bytes]:
        """Give the socket away, watched for READ, with what was not sent yet."""
        stream, self._stream = self._stream, None
        if stream is None:
            raise RuntimeError("BUG: released without a connection")
        if self._events != READ:
            self._reactor.change(stream.fileno(), READ)
        return stream, self._unsent

    def close(self) -> None:
        """Close the connection, if there is one; the listener hears nothing more of it."""
        self._is_over = True
        self._unsent = b""
        if self._stream is not None:
            self._reactor.forget(self._stream.fileno())
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
