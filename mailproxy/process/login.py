"""A login worker: accepts clients, carries their logins, then relays; knows no database and no file.

It has no rights but to accept, to dial, and to ask auth. In the mode of one process per connection it takes
one client and carries him to his end; otherwise many, up to `login_max_connections`.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from collections.abc import Sequence
from ipaddress import ip_network
from socket import SocketType

from mailproxy.auth.shares import Shares
from mailproxy.base.level import Level
from mailproxy.config.settings import LoginSettings
from mailproxy.ipc.auth_protocol import Mechanism
from mailproxy.ipc.status import Order, State
from mailproxy.net.acceptor import Acceptor, has_left
from mailproxy.net.pipes import PipePool
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.relay import Relay
from mailproxy.net.seen_certificates import SeenCertificates
from mailproxy.net.signals import Signals
from mailproxy.net.tls import Stream
from mailproxy.net.tls_context import TlsContexts
from mailproxy.process import child, syscall_filter
from mailproxy.process.arrival import Arrival
from mailproxy.process.auth_group import AuthGroup
from mailproxy.process.auth_link import AuthLink
from mailproxy.process.backend_certificates import BackendCertificates
from mailproxy.process.backend_health import BackendHealth
from mailproxy.process.connection import Connection
from mailproxy.process.handover import Handover
from mailproxy.process.login_policy import make_policy
from mailproxy.process.master_link import MasterLink
from mailproxy.process.random_words import RandomWords
from mailproxy.process.roster import RelayInfo, Roster
from mailproxy.process.scrub import Scrub
from mailproxy.process.source_addresses import SourceAddresses
from mailproxy.process.title import set_title
from mailproxy.process.user_ip_table import Places, Row, UserIpTable
from mailproxy.proto.sasl import APOP
from mailproxy.session.client import Client
from mailproxy.session.policy import Policy, is_within

_ANY_HOSTS = ("0.0.0.0", "::")
_TAG_CHARS = 8
_SESSION_ID_CHARS = 16
_STOCK_WORDS = 128


def _ignore() -> None:
    """What a terminal or an administrator sends to all processes is the master's affair."""


class Worker:
    """The one of this process; owns the reactor, the sessions and the relays.

    `inlet` is where relays of the version before come in, as long as it is open.

    The master makes it before it forks and never runs it: what all workers of a group have in common is then
    shared memory, which a process per connection must not pay for.
    """

    def __init__(
        self,
        settings: LoginSettings,
        listeners: Sequence[socket.socket],
        tls_listeners: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
        backend_tls: TlsContexts | None,
        seen: SeenCertificates,
        auths: Sequence[Shares],
        policy: Policy,
        user_ips: UserIpTable | None = None,
        inlet: socket.socket | None = None,
        log_fd: int = 2,
    ) -> None:
        self._settings = settings
        self.service = settings.protocol.encode()
        self.reactor = Reactor(opened=False)
        self._log_lines = child.ChildLog(log_fd, call_later=self.reactor.call_later, opened=False)
        self.log = self._log_lines.write
        self._signals = Signals(
            self.reactor,
            {signal.SIGTERM: self._terminate, signal.SIGINT: _ignore, signal.SIGHUP: _ignore},
            opened=False,
        )
        self._master = MasterLink(self.reactor, self.log, self._on_order, self._lose_master)
        self._scrub = Scrub(self.reactor)
        self.pipes = PipePool()
        self.policy = policy
        self.sessions: dict[Arrival | Connection, None] = {}
        """In the order of arrival."""
        self.relays: dict[Relay, RelayInfo] = {}
        self._roster = Roster(self.reactor, self.sessions, self.relays, settings.protocol, self._settle)
        self._is_retired = self._listens_anyway = False
        self._is_open = False
        """Whether we listen, have room, and the master knows it."""
        self._limit = 1 if settings.login_process_per_connection else settings.login_max_connections
        self.places = Places(user_ips, self.service, settings.mail_max_userip_connections)
        stock_words = min(self._limit, _STOCK_WORDS)
        self.tags = RandomWords(_TAG_CHARS, stock_words)
        self._session_ids = RandomWords(_SESSION_ID_CHARS, stock_words)
        ready = self._on_auth_ready
        self.auths = [AuthGroup(self.reactor, one, self.log, ready, self._limit_policy) for one in auths]
        self._auth_of: dict[bytes, AuthGroup] = {}
        self._auths_awaited = len(self.auths)
        self._pid = self._lingering = 0
        self.tls = tls
        self.backend_tls = backend_tls
        self.backend_certificates = BackendCertificates(seen, self.log)
        self.verbose_ssl = settings.tls.verbose_ssl
        self._with_header = settings.haproxy
        self.haproxy_timeout_s = settings.haproxy_timeout_s
        self._haproxies = [ip_network(network) for network in settings.haproxy_trusted_networks]
        self.health = BackendHealth(settings.proxy_host_immediate_failure_after_s)
        self.source_ips = SourceAddresses(settings.login_source_ips) if settings.login_source_ips else None
        """None lets the system choose."""
        self._logs_session = "%{session}" in settings.login_log_format_elements
        self._listeners = [*listeners, *tls_listeners]
        self._tls_listeners = frozenset(tls_listeners)
        self._own_addresses = {
            listener: None if name[0] in _ANY_HOSTS else name[:2]
            for listener in self._listeners
            for name in [listener.getsockname()]
        }
        self._acceptor = Acceptor(self.reactor, self._listeners, self._on_accept, self.log, tls_listeners)
        self._handover = Handover(
            *(self.reactor, self.pipes, self.relays, self.places, inlet),
            *(self.relay_ended, self._on_handed_over, self.log),
        )

    def run(self, channel: SocketType) -> None:
        """Be the worker from fork to exit."""
        settings = self._settings
        set_title(f"{settings.protocol}-login")
        os.chdir(settings.login_dir)
        child.become(settings.login_user, chroot=settings.login_dir if settings.login_chroot else "")
        child.limit_memory(settings.login_process_size_mib)
        child.forbid_processes()
        syscall_filter.forbid(others=settings.login_seccomp)
        self.open(channel)
        self._signals.open()
        self.reactor.run()
        self._log_lines.flush()

    def open(self, channel: SocketType) -> None:
        """Have descriptors of one's own, and begin to connect to auth."""
        self._pid = os.getpid()
        self.reactor.open()
        self._log_lines.open()
        self._master.open(channel)
        if not self._settings.login_process_per_connection:
            self._scrub.open()  # Otherwise all passwords are those of one user, who is served until the end.
        for group in self.auths:
            group.connect()

    # -- auth ---------------------------------------------------------------------------------------------

    def _on_auth_ready(self) -> None:
        self._auths_awaited -= 1
        if self._auths_awaited == 0:
            mechanisms: dict[bytes, Mechanism] = {}
            for group in reversed(self.auths):
                for mechanism in group.mechanisms:
                    mechanisms[mechanism.name] = mechanism
                    self._auth_of[mechanism.name] = group
            if mechanisms != self.policy.mechanisms:
                self.policy = make_policy(self._settings, list(mechanisms.values()), self.tls is not None)
            self._limit_policy()
            self._settle()

    def _limit_policy(self) -> None:
        """Offer no more than what auth knows every backend to have."""
        if self._settings.capability_is_limited and self._auths_awaited == 0:
            lacking: frozenset[bytes] = frozenset()
            for group in self.auths:
                lacking |= group.lacking(self.service)
            self.policy.limit(lacking)

    def link_for(self, mechanism: bytes, response: bytes | None) -> AuthLink:
        """Return the link to the user's process of the first auth section that offers the mechanism."""
        group = self._auth_of.get(mechanism) or self.auths[0]
        return group.only or group.link_for(mechanism, response)

    def apop_challenge(self) -> tuple[AuthLink, bytes]:
        """Return a challenge that only this client gets, and who takes his answer."""
        link = self.link_for(APOP, None)
        pid, connect_id = int(link.auth_pid or b"0"), int(link.connect_id or b"0")
        text = f"<{pid:x}.{connect_id:x}.{int(time.time()):x}.{os.urandom(16).hex()}@{self.policy.host_name}>"
        return link, text.encode()

    # -- clients ------------------------------------------------------------------------------------------

    def _on_accept(self, sock: SocketType, address: tuple[str, int], listener: socket.socket) -> None:
        lip, lport = self._own_addresses[listener] or sock.getsockname()[:2]
        with_tls = listener in self._tls_listeners
        rip, rport = address[:2]
        client = Client(lip, rip, lport, rport, lip == rip, self._pid, self._session_ids.next())
        client.since_s = self.reactor.now
        is_only_one = self._settings.login_process_per_connection
        is_gone = is_only_one and has_left(sock)
        if with_tls or self._with_header:
            arrival = Arrival(self, sock, client)
            self.sessions[arrival] = None
            if self._with_header and not is_within(rip, self._haproxies):
                self.log(Level.WARNING, f"haproxy: Client not in haproxy_trusted_networks: rip={rip}")
                arrival.end()
            elif is_gone:
                arrival.end()
            else:
                arrival.start(with_header=self._with_header, with_tls=with_tls)
        else:
            sock.setblocking(False)
            connection = Connection(self, sock, client)
            self.reactor.add(sock.fileno(), READ, connection.on_client)
            self.sessions[connection] = None
            connection.start(self.reactor.now)
            if is_gone:
                connection.on_client(READ)
        if is_only_one and self.sessions:
            self._leave_listeners(rip)  # One who is gone was not worth a process.
        elif len(self.sessions) + len(self.relays) > self._limit:
            self._evict_oldest()
        self._settle()

    def greet(self, arrival: Arrival, stream: Stream) -> None:
        """Begin the session of a client whose header was read and whose TLS stands."""
        connection = Connection(self, stream, arrival.client)
        self.reactor.replace(stream.fileno(), connection.on_client)
        self.sessions.pop(arrival, None)
        self.sessions[connection] = None
        connection.start(arrival.accepted_at)

    def arrival_ended(self, arrival: Arrival) -> None:
        """Forget a client who did not get as far as the greeting."""
        self.sessions.pop(arrival, None)
        self._settle()

    def _leave_listeners(self, rip: str) -> None:
        """In the mode of one process per connection: this client is the only one."""
        self._is_retired = True
        self._close_listeners()
        if self._settings.verbose_proctitle:
            set_title(f"{self._settings.protocol}-login [{rip}]")

    def _close_listeners(self) -> None:
        # Not only stop: relays may hold this process for days, and an address is free when all have let go.
        self._acceptor.stop()
        self._handover.stop()
        while self._listeners:
            SocketType.close(self._listeners.pop())

    def _has_evictable(self) -> bool:
        return any(connection.is_evictable for connection in self.sessions)

    def _evict_oldest(self) -> None:
        """End the client that has been logging in for longest; one whose password was accepted stays."""
        for connection in self.sessions:
            if connection.is_evictable:
                connection.end("Connection queue full")
                return

    def session_ended(self, connection: Connection) -> None:
        """Forget a client that is being told goodbye."""
        self.sessions.pop(connection, None)
        self._lingering += 1
        if self._scrub.is_idle:
            self._scrub.arm()

    def connection_closed(self) -> None:
        """Note that a client's socket is closed after his goodbye."""
        self._lingering -= 1
        self._settle()

    def session_became_relay(self, connection: Connection, relay: Relay, user: str, row: Row) -> None:
        """Count a session as a relay from now on."""
        del self.sessions[connection]
        client = connection.client
        self.relays[relay] = RelayInfo(user, client.rip, client.session_id, client.since_s, row)
        if self._scrub.is_idle:
            self._scrub.arm()
        if self._handover.is_passing:
            self._handover.offer(relay)
        if self._master.said is not State.LISTENING:
            self._settle()

    def _on_handed_over(self, came: RelayInfo | None) -> None:
        """A relay has come from the version before, or gone to the one behind."""
        if came is not None and self._settings.login_process_per_connection:
            self._leave_listeners(came.rip)
        self._settle()

    def relay_ended(self, relay: Relay) -> None:
        """Log the end of a relay that has closed its sockets."""
        info = self.relays.pop(relay)
        if self._handover.is_passing:
            self._handover.forget(relay)
        if info.row:
            self.places.give_back(info.row)
        side = "client" if relay.up.ended_first else "server" if relay.down.ended_first else "proxy"
        session = f", session=<{info.session_id}>" if self._logs_session and info.session_id else ""
        self.log(
            Level.INFO,
            f"proxy({info.user}): disconnecting {info.rip} "
            f"(Disconnected by {side}, in={relay.up.total_bytes}, out={relay.down.total_bytes}{session})",
        )
        self._settle()

    # -- the master ---------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Listen or not, say so to the master when it changed, and leave when nothing is left to do."""
        count = len(self.sessions) + len(self.relays)
        if self._is_open and count < self._limit and not self._is_retired:
            return  # As after nearly every login.
        self._is_open = False
        if self._auths_awaited and not self._is_retired:
            return  # An order came first: who is greeted now would get a challenge that auth does not know.
        if self._is_retired:
            self._close_listeners()
            if not self.sessions:
                self._handover.finish()
            if count + self._lingering == 0 and not self._roster.is_telling:
                self.reactor.stop()
            elif not self.sessions:
                # Not at once: we may have been called by a link that is still reading.
                self.reactor.flush_soon(self._leave_auth)
        elif count < self._limit:
            self._listens_anyway = False
            self._acceptor.listen()
            self._handover.listen()
        elif not (self._listens_anyway and self._has_evictable()):
            self._listens_anyway = False
            self._acceptor.stop()
            self._handover.stop()
        if count < self._limit and not self._is_retired:
            state = State.LISTENING
        else:
            state = State.FULL_WITH_LOGINS if self.sessions else State.FULL
        if state is not self._master.said:
            self._master.say(state, len(self.sessions), len(self.relays))
        self._is_open = self._master.said is State.LISTENING and state is State.LISTENING

    def _leave_auth(self) -> None:
        """Nobody will log in here any more: relays, which may live for days, keep no auth process alive."""
        for group in self.auths:
            group.close()

    def _on_order(self, order: Order, argument: bytes, fds: list[int]) -> None:
        if order is Order.RETIRE:
            self._is_retired = True
        elif order is Order.DROP_OLDEST_LOGIN:
            self._evict_oldest()
        elif order is Order.LISTEN_ANYWAY and self._has_evictable():
            self._listens_anyway = True
            self._acceptor.listen()
        elif order is Order.PING:
            self._master.answer(len(self.sessions), len(self.relays))
        elif order in (Order.WHO, Order.KICK) and fds:
            self._roster.tell(fds.pop(), argument)
        elif order is Order.HAND_OVER:
            self._handover.take_rest()
            self._is_retired = True
            if fds:  # They are lost when we have no number left for one: then relays stay here.
                self._handover.begin(fds.pop())
        elif order is Order.LEAVE:
            if argument:
                self.reactor.call_later(int(argument), self._terminate)
            self._lose_master()
        for fd in fds:
            os.close(fd)
        self._is_open = False  # It may be otherwise now.
        self._settle()

    def _lose_master(self) -> None:
        """Nobody watches over new clients any more: take none, keep those who have logged in."""
        self._handover.take_rest()
        self._is_retired = True
        self._end_logins(only_evictable=True)
        self._settle()

    def _end_logins(self, *, only_evictable: bool) -> None:
        for connection in list(self.sessions):
            if not only_evictable or connection.is_evictable:
                connection.end("Shutting down")

    def _terminate(self) -> None:
        self._is_retired = True
        self._acceptor.stop()
        self._end_logins(only_evictable=False)
        for relay in list(self.relays):
            relay.close()
        self.reactor.stop()
