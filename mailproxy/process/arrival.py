"""A client before his greeting: whose connection it is by the PROXY header, then TLS, where a listener asks.

What both take is bounded by the login's deadline, which runs from accept (`haproxy_timeout` for the header).
"""

from __future__ import annotations

from socket import SocketType
from typing import TYPE_CHECKING

from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.net.reactor import READ, Timer
from mailproxy.net.tls import TlsSocket
from mailproxy.net.tls_accept import TlsAccept
from mailproxy.process.own_fault import own_fault
from mailproxy.process.proxy_header import ProxyHeader
from mailproxy.proto.haproxy import Endpoints
from mailproxy.session.client import Client

if TYPE_CHECKING:
    from mailproxy.process.login import Worker


class Arrival:
    """Owns the socket until `worker.greet` gets it."""

    is_evictable = True
    user = ""
    place = ("", 0)

    __slots__ = ("_accept", "_sock", "_timer", "_with_tls", "_worker", "accepted_at", "client")

    def __init__(self, worker: Worker, sock: SocketType, client: Client) -> None:
        sock.setblocking(False)
        self._worker = worker
        self._sock: SocketType | None = sock
        self._accept: TlsAccept | None = None
        self._timer: Timer | None = None
        self._with_tls = False
        self.accepted_at = worker.reactor.now
        self.client = client
        worker.reactor.add(sock.fileno(), READ, self._on_early)

    def _on_early(self, _events: int) -> None:
        """Do nothing: who reads is set before the next batch."""

    def start(self, *, with_header: bool, with_tls: bool) -> None:
        """Begin with what stands first."""
        self._with_tls = with_tls
        reactor = self._worker.reactor
        if with_header and self._sock is not None:
            self._timer = reactor.call_later(self._worker.haproxy_timeout_s, self.end)
            ProxyHeader(reactor, self._sock, self._take_header, self._refuse_header)
        else:
            self._go_on()

    @own_fault
    def _take_header(self, whose: Endpoints | None) -> None:
        client = self.client
        if whose is not None:
            client.rip, client.rport = whose.source, whose.source_port
            client.lip, client.lport = whose.destination, whose.destination_port
            # Whoever is on the balancer's own machine still comes to us over the network.
            client.secured = False
        self._go_on()

    @own_fault
    def _refuse_header(self, why: str) -> None:
        self._log(Level.WARNING, f"haproxy: Client dropped: {why}")
        self.end()

    def _go_on(self) -> None:
        worker = self._worker
        self._drop_timer()
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if not self._with_tls or worker.tls is None:
            worker.greet(self, sock)
            return
        left_s = self.accepted_at + worker.policy.login_timeout_s - worker.reactor.now
        self._timer = worker.reactor.call_later(left_s, self.end)
        protocol = worker.service
        self._accept = TlsAccept(worker.reactor, sock, worker.tls, protocol, self._on_tls, self._on_no_tls)

    @own_fault
    def _on_tls(self, stream: TlsSocket) -> None:
        self._accept = None
        self._drop_timer()
        client = self.client
        client.secured, client.tls, client.cert_name = True, stream.describe(), stream.peer_name()
        self._worker.greet(self, stream)

    @own_fault
    def _on_no_tls(self, why: str) -> None:
        self._accept = None
        if self._worker.verbose_ssl:
            self._log(Level.INFO, f"TLS handshake failed: {why}")
        self.end()

    def fail(self, error: Exception) -> None:
        """End this arrival for a bug of ours."""
        self._log(Level.ERROR, f"BUG: {type(error).__name__} before the greeting")
        self.end()

    def _log(self, level: Level, text: str) -> None:
        self._worker.log(level, f"{printable(text)}: rip={self.client.rip}, lip={self.client.lip}")

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._worker.reactor.cancel(self._timer)
            self._timer = None

    def end(self, _reason: str = "") -> None:
        """Close; to one who has not been greeted there is nothing to say in a language that he speaks yet."""
        self._drop_timer()
        if self._accept is not None:
            self._accept.close()
            self._accept = None
        if self._sock is not None:
            self._worker.reactor.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._worker.arrival_ended(self)
