"""The auth process: opens the databases, gives up its privileges, answers login workers.

It never sees a client's socket. What it must read as root (the SQL files) is read before `confine`.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from socket import SocketType

from mailproxy.auth.cache import AuthCache
from mailproxy.auth.chain import Chain, open_chain
from mailproxy.auth.database import LoopPassdb
from mailproxy.auth.delay import FailureDelay
from mailproxy.auth.engine import Engine
from mailproxy.auth.explanation import Explanation
from mailproxy.auth.mechanisms.claim import Context
from mailproxy.auth.mechanisms.registry import OFFERS, TOKEN_MECHANISMS, Offer
from mailproxy.auth.pool import Pool
from mailproxy.auth.request import Request
from mailproxy.auth.resolver import Resolver
from mailproxy.auth.schemes import load_libraries
from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.level import Level
from mailproxy.base.limits import FAILURE_TICK_S
from mailproxy.config.settings import AuthSettings
from mailproxy.ipc.status import Order, State
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.signals import Signals
from mailproxy.passdb import open_passdb
from mailproxy.process.auth_client import AuthClient, Shared
from mailproxy.process.inquiry_link import InquiryLink
from mailproxy.process.master_link import MasterLink
from mailproxy.process.prober import Prober
from mailproxy.process.question import Question
from mailproxy.userdb import open_userdb

Log = Callable[[Level, str], None]

EXIT_FATAL = 89
_SWEEP_S = 5.0
_ACCEPT_PAUSE_S = 1.0
# Hashes of the libraries written in Python hold the interpreter's lock: logins of others get it this often.
_SWITCH_INTERVAL_S = 0.001
# The default of 8 MiB for each of 30 threads would be all that `auth_process_size` allows.
_STACK_BYTES = 1 << 20
# Apart from those of the databases: a name server that is down must not hold up who needs none.
_DNS_THREADS = 8


def run(
    settings: AuthSettings,
    listeners: list[socket.socket],
    channel: SocketType,
    log: Log,
    confine: Callable[[], None],
    questions: Mapping[str, Question],
) -> None:
    """Serve until retired, terminated or left alone by the master.

    Takes over the sockets. `log` must be thread-safe, `confine` drops the privileges, `questions` are what
    backends are asked, by service. Raises SystemExit with 89, after a fatal log line, when the configuration
    cannot be served.
    """
    try:
        offers = _offers(settings)
        chain = open_chain(settings, lambda database: open_passdb(database, log))
        userdbs = [open_userdb(database, log) for database in settings.userdbs]
    except ConfigError as error:
        for problem in error.problems:
            log(Level.FATAL, str(problem))
        raise SystemExit(EXIT_FATAL) from None
    load_libraries()
    confine()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    threading.stack_size(_STACK_BYTES)
    server = _Server(settings, chain, offers, listeners, channel, log, questions)
    server.serve()
    for link in chain.links:
        link.passdb.close()
    for userdb in userdbs:
        userdb.close()


def _offers(settings: AuthSettings) -> dict[bytes, Offer]:
    if not settings.mechanisms:
        raise ConfigError([Problem("No authentication mechanisms configured")])
    unknown = [name for name in settings.mechanisms if name.upper() not in OFFERS]
    if unknown:
        raise ConfigError([Problem(f"Unknown authentication mechanism '{name}'") for name in unknown])
    return {name.upper().encode(): OFFERS[name.upper()] for name in settings.mechanisms}


class _Server:
    """Wires the engine to sockets, threads, signals and time."""

    def __init__(
        self,
        settings: AuthSettings,
        chain: Chain,
        offers: dict[bytes, Offer],
        listeners: list[socket.socket],
        channel: SocketType,
        log: Log,
        questions: Mapping[str, Question],
    ) -> None:
        self._settings = settings
        self._chain = chain
        self._log = log
        self._listeners = list(listeners)
        self._channel = channel
        self._reactor = Reactor()
        self._master = MasterLink(self._reactor, log, self._on_order, self._retire)
        self._pool = Pool(settings.worker_max_count)
        self._dns_pool = Pool(_DNS_THREADS)
        self._cache = _open_cache(settings)
        self._clients: set[AuthClient] = set()
        self._connections = 0
        self._started_at = int(time.time())
        self._retiring = False
        self._delay: FailureDelay[Request] = FailureDelay(
            self._reactor.now,
            FAILURE_TICK_S,
            self._reactor.call_at,
            lambda request, line: request.outlet.deliver(request, line),
        )
        resolver = Resolver(self._dns_pool.submit, lambda: self._reactor.now, log)
        self._resolve = resolver.resolve_all
        self._prober = prober = Prober(self._reactor, questions, log, self._tell_workers)
        self._engine = Engine(
            settings, chain, self._cache, self._pool.submit, resolver.resolve_all, log, prober.used
        )
        for link in chain.links:
            if isinstance(link.passdb, LoopPassdb):
                limit = settings.worker_max_count
                link.passdb.attach(self._reactor, self._pool.submit, limit, self._tell_time)
        self._shared = self._share(offers)
        self._hostname = socket.gethostname().encode()
        self._realms = tuple(realm.encode() for realm in settings.realms)

    def _share(self, offers: dict[bytes, Offer]) -> Shared:
        """Return what all clients of this process have in common."""
        settings = self._settings
        debug = settings.debug or settings.debug_passwords
        # Tokens open other doors too, so they are in no log, whatever the settings.
        shows_secrets = settings.debug_passwords and TOKEN_MECHANISMS.isdisjoint(settings.mechanisms)
        return Shared(
            *(self._reactor, self._engine, self._delay, offers, self._log),
            *(debug, shows_secrets, self._prober.lines),
        )

    def serve(self) -> None:
        """Report to be ready and answer until it is time to go."""
        reactor = self._reactor
        handlers = {
            signal.SIGTERM: self._terminate,
            signal.SIGINT: self._terminate,
            signal.SIGHUP: self._clear_cache,
            signal.SIGUSR2: self._log_statistics,
        }
        signals = Signals(reactor, handlers)
        for pool in (self._pool, self._dns_pool):
            reactor.add(pool.fileno(), READ, partial(self._on_results, pool))
        self._master.open(self._channel)
        for listener in self._listeners:
            listener.setblocking(False)
            self._watch(listener)
        reactor.call_later(_SWEEP_S, self._sweep)
        # Only now: from here on the master may send signals and orders.
        self._report()
        reactor.run()
        for client in list(self._clients):
            client.close()
        self._prober.close()
        signals.close()
        self._pool.close()
        self._dns_pool.close()
        reactor.close()

    def _watch(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._reactor.add(listener.fileno(), READ, lambda _events: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # Out of descriptors, most likely: the listener stays readable, so look away for a while.
            self._log(Level.ERROR, f"accept() failed: {error.strerror}")
            self._reactor.remove(listener.fileno())
            self._reactor.call_later(_ACCEPT_PAUSE_S, lambda: self._watch(listener))
            return
        sock.setblocking(False)
        self._connections += 1
        context = Context(self._hostname, self._realms, os.getpid(), self._connections, self._started_at)
        self._clients.add(AuthClient(sock, context, self._shared, self._on_gone))

    def _on_gone(self, client: AuthClient) -> None:
        self._clients.discard(client)
        self._leave_if_idle()

    def _tell_workers(self, line: bytes) -> None:
        for client in self._clients:
            client.tell(line)

    def _tell_time(self) -> None:
        self._engine.now = self._reactor.now

    def _on_results(self, pool: Pool, _events: int) -> None:
        self._tell_time()
        pool.collect()

    def _on_order(self, order: Order, _argument: bytes, fds: list[int]) -> None:
        if order is Order.RETIRE:
            self._retire()
        elif order is Order.PING:
            self._report()
        elif order is Order.EXPLAIN and fds:
            InquiryLink(self._reactor, fds.pop(), self._explanation)
        for fd in fds:
            os.close(fd)

    def _explanation(self, on_end: Callable[[list[str]], None]) -> Explanation:
        now_s = self._reactor.now
        return Explanation(self._settings, self._chain, self._pool.submit, self._resolve, now_s, on_end)

    def _report(self) -> None:
        self._master.say(State.LISTENING, 0, 0)

    def _retire(self) -> None:
        if self._retiring:
            return
        self._retiring = True
        self._prober.close()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            self._reactor.remove(listener.fileno())
            listener.close()
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._retiring and not self._clients:
            self._reactor.stop()

    def _terminate(self) -> None:
        self._delay.flush()
        for client in list(self._clients):
            client.flush()
        self._reactor.stop()

    def _sweep(self) -> None:
        self._tell_time()
        for client in list(self._clients):
            client.expire(self._reactor.now)
        self._reactor.call_later(_SWEEP_S, self._sweep)

    def _clear_cache(self) -> None:
        if self._cache is not None:
            self._log(Level.INFO, "SIGHUP received, clearing cache")
            self._cache.clear()

    def _log_statistics(self) -> None:
        if self._cache is not None:
            hits, lookups = self._cache.take_statistics()
            percent = hits * 100 // lookups if lookups else 100
            self._log(Level.INFO, f"Authentication cache hits {hits}/{lookups} ({percent}%)")


def _open_cache(settings: AuthSettings) -> AuthCache | None:
    if settings.cache_size_bytes <= 0 or settings.cache_ttl_s <= 0:
        return None
    return AuthCache(settings.cache_size_bytes, settings.cache_ttl_s, settings.cache_negative_ttl_s)
