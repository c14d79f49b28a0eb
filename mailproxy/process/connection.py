"""One client on his way through the login: the sockets behind a session's `Out`."""

from __future__ import annotations

from socket import SocketType
from traceback import walk_tb
from typing import TYPE_CHECKING

from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.ipc.auth_protocol import Reply, render_parameters
from mailproxy.ipc.escape import escape
from mailproxy.net.reactor import READ, WRITE
from mailproxy.net.relay import Relay
from mailproxy.net.tls import Stream, TlsSocket
from mailproxy.net.tls_accept import TlsAccept
from mailproxy.process.backend_health import Place
from mailproxy.process.backend_link import BackendLink
from mailproxy.process.goodbye import Goodbye
from mailproxy.process.own_fault import own_fault
from mailproxy.process.user_ip_table import Row
from mailproxy.proto.sasl import APOP
from mailproxy.session.client import Client
from mailproxy.session.out import BackendTls
from mailproxy.session.session import Session

if TYPE_CHECKING:
    from mailproxy.process.login import Worker

# More would cost 1 us a read: the C library wipes what it gives and takes (process/scrub.py).
_READ_BYTES = 4096


class Connection:
    """Owns the client's stream and, while logging in, the backend's, until `detach` or `close`.

    The stream must be watched by the reactor, with `on_client` as its callback.
    """

    # fmt: off
    __slots__ = (
        "_apop_link", "_auth_link", "_backend", "_client", "_client_ended", "_client_events",
        "_client_is_closed", "_has_heard", "_is_paused", "_request_id", "_row",
        "_session", "_tls_accept", "_to_client", "_worker", "client", "log", "place",
    )
    # fmt: on

    def __init__(self, worker: Worker, stream: Stream, client: Client) -> None:
        self._worker = worker
        self.log = worker.log
        self._client = stream
        self._backend: BackendLink | None = None
        self._client_events = READ
        self._client_ended = False
        self._has_heard = False
        self._is_paused = False
        self.place: Place = ("", 0)
        self._client_is_closed = False
        self._row: Row | None = 0
        self._request_id = 0
        self._to_client = b""
        self._session: Session | None = None
        self._tls_accept: TlsAccept | None = None
        self.client = client

    # This, `on_client`, `on_auth_reply` and `on_backend_data` do what `own_fault` does, which would be
    # five more calls for each login.

    def start(self, accepted_at: float) -> None:
        """Greet the client, whose time for the login runs from `accepted_at`."""
        try:
            worker = self._worker
            challenge = b""
            if worker.policy.apop_offered:
                self._apop_link, challenge = worker.apop_challenge()
            tag = b"P" + worker.tags.next().encode()
            self._session = Session(worker.policy, self, self.client, tag, challenge)
            self._session.start(accepted_at)
        except Exception as error:
            self.fail(error)

    @property
    def user(self) -> str:
        """Printable, and empty before auth knows him."""
        return "" if self._session is None else self._session.user

    @property
    def is_evictable(self) -> bool:
        """Whether nothing is lost but a connection."""
        return self._session is None or self._session.is_evictable

    def end(self, reason: str) -> None:
        """Tell the client why, then close."""
        if self._session is None:
            self.close()
        else:
            self._session.end(reason, True, self._worker.reactor.now)

    def _release(self) -> None:
        """Session and connection know each other; let both go without the garbage collector's help."""
        self._worker.reactor.drop_deadline(self)
        self._session = None

    # -- the client ---------------------------------------------------------------------------------------

    def on_client(self, events: int) -> None:
        """Take an event of the client's stream."""
        try:
            if events & WRITE:
                data, self._to_client = self._to_client, b""
                self.send_client(data)
            session = self._session
            if session is None or not events & ~WRITE:
                return
            try:
                # While paused the only news is that he is gone.
                data = b"" if self._is_paused else self._client.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                session.on_client_data(data, self._worker.reactor.now)
            else:
                self._lose_client()
        except Exception as error:
            self.fail(error)

    @own_fault
    def _lose_client(self) -> None:
        self._client_ended = True
        if self._session is None:
            self.close()
        else:
            self._session.on_client_eof(self._worker.reactor.now)

    def send_client(self, data: bytes) -> None:
        """Queue bytes for the client; while some wait nothing is read from him."""
        if not self._to_client:
            try:
                data = data[self._client.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                data = b""  # The next read tells.
        self._to_client += data
        if self._to_client or self._client_events != READ:
            self._watch_client()

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

    # -- STARTTLS -----------------------------------------------------------------------------------------

    def start_client_tls(self) -> None:
        """Begin the handshake; the client speaks first."""
        worker = self._worker
        if not isinstance(self._client, SocketType) or worker.tls is None:
            raise RuntimeError("BUG: TLS twice, or without a certificate")
        if self._to_client:
            # He has not read what he asked for, and waiting to write it would go on for as long as he likes.
            worker.reactor.flush_soon(self._lose_client)
            return
        self._tls_accept = TlsAccept(
            worker.reactor, self._client, worker.tls, worker.service, self._on_tls, self._on_tls_failed
        )

    @own_fault
    def _on_tls(self, stream: TlsSocket) -> None:
        self._tls_accept = None
        self._client = stream
        self._client_events = READ
        self._worker.reactor.replace(stream.fileno(), self.on_client)
        client = self.client
        client.secured, client.tls = True, stream.describe()
        client.cert_name = stream.peer_name()
        if self._session is not None:
            self._session.on_client_tls_started(self._worker.reactor.now)

    @own_fault
    def _on_tls_failed(self, why: str) -> None:
        self._tls_accept = None
        self._client_is_closed = True
        if self._worker.verbose_ssl:
            self.log(Level.INFO, f"TLS handshake failed: {printable(why)}: rip={self.client.rip}")
        self._lose_client()

    # -- auth ---------------------------------------------------------------------------------------------

    def ask_auth(self, mechanism: bytes, response: bytes | None) -> None:
        """Begin a request with the auth process that offers the mechanism."""
        client = self.client
        parameters = render_parameters(
            self._worker.service, client.secured, client.lip.encode(), client.rip.encode()
        )
        if client.cert_name:
            parameters += b"\tvalid-client-cert\tcert_username=" + escape(client.cert_name.encode())
        # Only the process that its challenge was made for takes an answer.
        self._auth_link = self._apop_link if mechanism == APOP else self._worker.link_for(mechanism, response)
        self._request_id = self._auth_link.ask(self, mechanism, parameters, response)
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
        try:
            if self._session is not None:
                self._session.on_auth_reply(reply, self._worker.reactor.now)
        except Exception as error:
            self.fail(error)

    @own_fault
    def on_auth_lost(self) -> None:
        """Tell the session that no answer will come."""
        self._request_id = 0
        if self._session is not None:
            self._session.on_auth_lost(self._worker.reactor.now)

    def take_place(self, user: str) -> bool:
        """Count a session of this user from his address, if they are counted and he has not too many."""
        places = self._worker.places
        if places.are_limited:
            self._row = places.take(user, self.client.rip)
        return self._row is not None

    def leave_place(self) -> None:
        """Count it no more."""
        self._worker.places.give_back(self._row)
        self._row = 0

    # -- the backend --------------------------------------------------------------------------------------

    def dial(
        self,
        ip: str,
        port: int,
        tls: BackendTls | None,
        source_ip: str,
        immediate_failure_after_s: float | None,
        header: bytes,
    ) -> None:
        """Begin to connect to a backend."""
        worker = self._worker
        self.place = place = (ip, port)
        self._has_heard = False
        if worker.health.failing:
            failing_s = worker.health.failing_s(place, worker.reactor.now, immediate_failure_after_s)
            if failing_s:
                why = f"it has been failing for {failing_s:.0f} s"
                worker.reactor.flush_soon(lambda: self._refuse_place(place, why))
                return
        look = worker.backend_certificates.look
        self._backend = BackendLink(worker.reactor, self, worker.backend_tls, look)
        if worker.source_ips is not None:
            source_ip = source_ip or worker.source_ips.next(ip)
        self._backend.dial(ip, port, tls, source_ip, header)

    def _note_failure(self) -> None:
        if not self._has_heard:
            self._worker.health.failed(self.place, self._worker.reactor.now)

    def _refuse_place(self, place: Place, why: str) -> None:
        if self._backend is None and self.place == place and self._session is not None:
            self._session.on_backend_lost(why, self._worker.reactor.now)

    def start_backend_tls(self, tls: BackendTls) -> None:
        """Begin TLS with the backend."""
        if self._backend is not None:
            self._backend.start_tls(tls)

    def send_backend(self, data: bytes) -> None:
        """Queue bytes for the backend."""
        if self._backend is not None:
            self._backend.send(data)

    def hang_up(self) -> None:
        """Close the backend's connection."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def on_backend_data(self, data: bytes) -> None:
        """Pass bytes of the backend to the session."""
        try:
            if not self._has_heard:
                self._has_heard = True
                if self._worker.health.failing:
                    self._worker.health.answered(self.place)
            if self._session is not None:
                self._session.on_backend_data(data, self._worker.reactor.now)
        except Exception as error:
            self.fail(error)

    @own_fault
    def on_backend_tls(self) -> None:
        """Tell the session that the backend is reached by TLS now."""
        if self._session is not None:
            self._session.on_backend_tls_started(self._worker.reactor.now)

    @own_fault
    def on_backend_lost(self, why: str, is_final: bool) -> None:
        """Tell the session that the backend is gone."""
        self._backend = None
        self._note_failure()
        if self._session is not None:
            self._session.on_backend_lost(why, self._worker.reactor.now, is_final)

    # -- the end ------------------------------------------------------------------------------------------

    def set_deadline(self, when: float) -> None:
        """Call the session at `when`."""
        self._worker.reactor.set_deadline(self, when)

    @own_fault
    def on_deadline(self) -> None:
        """Tell the session that its time is up."""
        if self._session is None:
            self.close()
        else:
            if self._backend is not None:
                self._note_failure()
            self._session.on_deadline(self._worker.reactor.now)

    def detach(self, user: str, to_backend: bytes, to_client: bytes) -> None:
        """Hand both sockets to the relay."""
        if self._backend is None:
            raise RuntimeError("BUG: detached without a backend")
        worker = self._worker
        self._release()
        if self._client_events != READ:
            worker.reactor.change(self._client.fileno(), READ)
        backend, unsent = self._backend.release()
        self._backend = None
        relay = Relay(worker.reactor, worker.pipes, self._client, backend, worker.relay_ended)
        worker.session_became_relay(self, relay, user, self._row or 0)
        relay.start(unsent + to_backend, self._to_client + to_client)

    def close(self) -> None:
        """Say goodbye by FIN, then close; what a client has not read so far is lost to him."""
        self.hang_up()
        self._release()
        self.leave_place()
        if self._tls_accept is not None:
            # In the middle of a handshake nothing can be said to him.
            self._tls_accept.close()
            self._tls_accept = None
            self._client_is_closed = True
        self._worker.session_ended(self)
        if self._client_is_closed:
            self._worker.connection_closed()
        elif self._client_ended:
            self._worker.reactor.forget(self._client.fileno())
            self._client.close()
            self._worker.connection_closed()
        else:
            if self._client_events != READ:
                self._worker.reactor.change(self._client.fileno(), READ)
            Goodbye(self._worker.reactor, self._client, self._worker.connection_closed)

    def fail(self, error: Exception) -> None:
        """End this connection for a bug of ours; secrets are not in the places, so only they are logged."""
        places = [f"{frame.f_code.co_name}:{line}" for frame, line in walk_tb(error.__traceback__)][-6:]
        self.log(Level.ERROR, f"BUG: {type(error).__name__} in {' > '.join(places)}: rip={self.client.rip}")
        if self in self._worker.sessions:
            if self._request_id:
                self.cancel_auth()
            self.close()
