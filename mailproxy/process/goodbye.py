"""The end of a client's connection that reaches him: FIN, then his last bytes are read and dropped."""

from __future__ import annotations

import socket
from collections.abc import Callable

from mailproxy.net.reactor import Reactor
from mailproxy.net.tls import Stream, TlsSocket

_READ_BYTES = 8192
# A client that is told goodbye may still be sending; closing on unread bytes would reset the connection and
# take the goodbye away from him. So his bytes are read and dropped, for so long and so many.
_LINGER_S = 1.0
_LINGER_BYTES = 1 << 20


class Goodbye:
    """Owns the stream, which the reactor must be watching for READ, and closes it; then calls `on_closed`."""

    __slots__ = ("_drop_bytes", "_on_closed", "_reactor", "_stream", "_timer")

    def __init__(self, reactor: Reactor, stream: Stream, on_closed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._stream = stream
        self._on_closed = on_closed
        self._drop_bytes = _LINGER_BYTES
        self._timer = reactor.call_later(_LINGER_S, self._finish)
        reactor.replace(stream.fileno(), self._on_readable)
        try:
            if isinstance(stream, TlsSocket):
                stream.say_goodbye()
            stream.shutdown(socket.SHUT_WR)
        except OSError:
            self._finish()

    def _on_readable(self, _events: int) -> None:
        try:
            data = self._stream.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._drop_bytes -= len(data)
        if not data or self._drop_bytes <= 0:
            self._finish()

    def _finish(self) -> None:
        self._reactor.cancel(self._timer)
        self._reactor.forget(self._stream.fileno())
        self._stream.close()
        self._on_closed()
