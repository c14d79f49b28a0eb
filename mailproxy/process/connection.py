"""One client on his way through the login: the sockets behind a session's `Out`."""

from __future__ import annotations

import errno
import os
import socket
from socket import SocketType
from typing import TYPE_CHECKING

from mailproxy.base.level import Level
from mailproxy.ipc.auth_protocol import Reply, render_parameters
from mailproxy.net.reactor import READ, WRITE, Timer
from mailproxy.net.relay import Relay
from mailproxy.session.client import Client
from mailproxy.session.session import Session

if TYPE_CHECKING:
    from mailproxy.process.login import Worker

_READ_BYTES = 8192
_BACKEND_READ_BYTES = 16384
# socket.socket wraps this class in Python code that costs a microsecond a socket and does nothing for us.
_NON_BLOCKING_STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
# A client that is told goodbye may still be sending; closing on unread bytes would reset the connection and
# take the goodbye away from him. So his bytes are read and dropped, for so long and so many.
_LINGER_S = 1.0
_LINGER_BYTES = 1 << 20


class Connection:
    """Owns the client's socket and, while logging in, the backend's, until `detach` or `close`."""

    __slots__ = (
        "_auth_link",
        "_backend",
        "_backend_events",
        "_client",
        "_client_ended",
        "_client_events",
        "_deadline",
        "_drop_bytes",
        "_is_over",
        "_is_paused",
        "_parameters",
        "_request_id",
        "_timer",
        "_to_backend",
        "_to_client",
        "_worker",
        "client",
        "session",
    )

    def __init__(self, worker: Worker, sock: SocketType, client: Client) -> None:
        sock.setblocking(False)
        self._worker = worker
        self._client = sock
        self._backend: SocketType | None = None
        self._client_events = READ
        self._client_ended = False
        self._backend_events = READ
        self._is_paused = False
        self._is_over = False
        self._request_id = 0
        self._auth_link = worker.auth_links[0]
        self._timer: Timer | None = None
        self._deadline = 0.0
        self._to_client = b""
        self._to_backend = b""
        self._drop_bytes = _LINGER_BYTES
        self._parameters = b""
        self.client = client
        worker.reactor.add(sock.fileno(), READ, self._on_client)
        self.session = Session(
            worker.policy, self, client, worker.tags.next(), worker.apop_challenge(self._auth_link)
        )

    def start(self) -> None:
        """Greet the client."""
        self.session.start(self._worker.reactor.now)

    def _release(self) -> None:
        """Session and connection know each other; let both go without the garbage collector's help."""
        self._drop_timer()
        self._is_over = True
        del self.session

    # -- the client ---------------------------------------------------------------------------------------

    def _on_client(self, events: int) -> None:
        if events & WRITE:
            self._flush_client()
        if not events & ~WRITE:
            return
        try:
            # While paused the only news is that he is gone.
            data = b"" if self._is_paused else self._client.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.session.on_client_data(data, self._worker.reactor.now)
        else:
            self._client_ended = True
            self.session.on_client_eof(self._worker.reactor.now)

    def send_client(self, data: bytes) -> None:
        """Queue bytes for the client; while some wait nothing is read from him."""
        if not self._to_client:
            try:
                data = data[self._client.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # The next read tells.
        self._to_client += data
        self._watch_client()

    def _flush_client(self) -> None:
        data, self._to_client = self._to_client, b""
        self.send_client(data)

    def pause_client(self) -> None:
        """Read no more from the client."""
        self._is_paused = True
        self._watch_client()

    def resume_client(self) -> None:
        """Read from the client again."""
        self._is_paused = False
        self._watch_client()

    def _watch_client(self) -> None:
        events = WRITE if self._to_client else 0 if self._is_paused else READ
        if events != self._client_events:
            self._client_events = events
            self._worker.reactor.change(self._client.fileno(), events)

    # -- auth ---------------------------------------------------------------------------------------------

    def ask_auth(self, mechanism: bytes, response: bytes | None) -> None:
        """Begin a request with the auth process that offers the mechanism."""
        if not self._parameters:
            client = self.client
            self._parameters = render_parameters(
                self._worker.service, client.secured, client.lip.encode(), client.rip.encode()
            )
        self._auth_link = self._worker.link_for(mechanism)
        self._request_id = self._auth_link.ask(self, mechanism, self._parameters, response)
        if not self._request_id:
            self._worker.reactor.flush_soon(self.on_auth_lost)

    def answer_auth(self, response: bytes) -> None:
        """Continue the open request."""
        self._auth_link.answer(self._request_id, response)

    def cancel_auth(self) -> None:
        """Forget the open request."""
        self._auth_link.cancel(self._request_id)
        self._request_id = 0

    def on_auth_reply(self, reply: Reply) -> None:
        """Pass an answer of auth to the session."""
        self.session.on_auth_reply(reply, self._worker.reactor.now)

    def on_auth_lost(self) -> None:
        """Tell the session that no answer will come."""
        self._request_id = 0
        if not self._is_over:
            self.session.on_auth_lost(self._worker.reactor.now)

    # -- the backend --------------------------------------------------------------------------------------

    def dial(self, host: str, port: int) -> None:
        """Begin to connect; the first bytes or the error of the backend tell how it went."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            backend = SocketType(family, _NON_BLOCKING_STREAM)
        except OSError as error:
            self._lose_backend_soon(error)
            return
        backend.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        backend.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        code = backend.connect_ex((host, port))
        if code not in (0, errno.EINPROGRESS):
            backend.close()
            self._lose_backend_soon(OSError(code, os.strerror(code)))
            return
        self._backend = backend
        self._backend_events = READ
        self._worker.reactor.add(backend.fileno(), READ, self._on_backend)

    def _lose_backend_soon(self, error: OSError) -> None:
        """Tell the session after it has finished what it is doing."""
        why = error.strerror or "no socket"

        def lose() -> None:
            if not self._is_over:
                self.session.on_backend_lost(why, self._worker.reactor.now)

        self._worker.reactor.flush_soon(lose)

    def _on_backend(self, events: int) -> None:
        backend = self._backend
        if backend is None:
            return
        if events & WRITE:
            data, self._to_backend = self._to_backend, b""
            self.send_backend(data)
        if not events & ~WRITE:
            return
        now = self._worker.reactor.now
        try:
            data = backend.recv(_BACKEND_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.hang_up()
            self.session.on_backend_lost(error.strerror or "read failed", now)
            return
        if data:
            self.session.on_backend_data(data, now)
        else:
            self.hang_up()
            self.session.on_backend_lost("connection closed", now)

    def send_backend(self, data: bytes) -> None:
        """Queue bytes for the backend."""
        backend = self._backend
        if backend is None:
            return
        if not self._to_backend:
            try:
                data = data[backend.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # The next read tells.
        self._to_backend += data
        events = READ | WRITE if self._to_backend else READ
        if events != self._backend_events:
            self._backend_events = events
            self._worker.reactor.change(backend.fileno(), events)

    def hang_up(self) -> None:
        """Close the backend's socket."""
        if self._backend is not None:
            self._worker.reactor.forget(self._backend.fileno())
            self._backend.close()
            self._backend = None
        self._to_backend = b""

    # -- the end ------------------------------------------------------------------------------------------

    def set_deadline(self, when: float) -> None:
        """Call the session at `when`; a later deadline than the armed one costs nothing now."""
        self._deadline = when
        timer = self._timer
        if timer is not None:
            if timer.when <= when:
                return
            self._worker.reactor.cancel(timer)
        self._timer = self._worker.reactor.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = self._worker.reactor.now
        if now < self._deadline:
            self.set_deadline(self._deadline)
        else:
            self.session.on_deadline(now)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._worker.reactor.cancel(self._timer)
            self._timer = None

    def detach(self, user: str, to_backend: bytes, to_client: bytes) -> None:
        """Hand both sockets to the relay."""
        if self._backend is None:
            raise RuntimeError("BUG: detached without a backend")
        worker = self._worker
        self._release()
        if self._client_events != READ:
            worker.reactor.change(self._client.fileno(), READ)
        if self._backend_events != READ:
            worker.reactor.change(self._backend.fileno(), READ)
        relay = Relay(worker.reactor, worker.pipes, self._client, self._backend, worker.relay_ended)
        self._backend = None
        worker.session_became_relay(self, relay, user)
        relay.start(self._to_backend + to_backend, self._to_client + to_client)

    def close(self) -> None:
        """Send what is queued, say goodbye by FIN, then close."""
        self.hang_up()
        self._release()
        self._worker.session_ended(self)
        if self._client_ended:
            self._finish()
            return
        try:
            self._client.shutdown(socket.SHUT_WR)
        except OSError:
            self._finish()
            return
        reactor = self._worker.reactor
        if self._client_events != READ:
            reactor.change(self._client.fileno(), READ)
        reactor.replace(self._client.fileno(), self._on_lingering)
        self._timer = reactor.call_later(_LINGER_S, self._finish)

    def _on_lingering(self, _events: int) -> None:
        try:
            data = self._client.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._drop_bytes -= len(data)
        if not data or self._drop_bytes <= 0:
            self._finish()

    def _finish(self) -> None:
        self._drop_timer()
        self._worker.reactor.forget(self._client.fileno())
        self._client.close()
        self._worker.connection_closed()

    def log(self, level: Level, text: str) -> None:
        """Write one log line."""
        self._worker.log(level, text)
