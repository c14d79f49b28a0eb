"""A login worker's links to the processes of one auth section, made when they are first needed."""

from __future__ import annotations

import os
from collections.abc import Callable

from mailproxy.auth.shares import Shares
from mailproxy.ipc.auth_protocol import Mechanism
from mailproxy.net.reactor import Reactor, Timer
from mailproxy.process.auth_link import AuthLink
from mailproxy.process.child import Log

# The one process that is asked first has died, or is busy: any other will do for the list of mechanisms.
_OTHERS_S = 0.2


class AuthGroup:
    """Owns the links.

    `on_ready` is called once, at the end of the first handshake with any of them, `on_news` when what one of
    them knows about backends has changed after its first handshake.
    """

    def __init__(
        self,
        reactor: Reactor,
        shares: Shares,
        log: Log,
        on_ready: Callable[[], None],
        on_news: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._shares = shares
        self._on_ready: Callable[[], None] | None = on_ready
        self._on_news = on_news
        self._links = [AuthLink(reactor, name, log, self._on_link_ready, on_news) for name in shares.names]
        self._unused = set(self._links)
        self._turn = 0
        self._others: Timer | None = None
        self.first = self._links[0]
        self.only = self.first if len(self._links) == 1 else None
        """The link of a section with one process: nothing has to be chosen."""
        self.mechanisms: tuple[Mechanism, ...] = ()
        """As announced, by all processes alike; empty before the first handshake."""

    def connect(self) -> None:
        """Connect to one process; to all when that one does not answer soon."""
        # Workers begin with different processes, so that none of these gets all the handshakes.
        self._turn = os.getpid()
        self._use(self._links[self._turn % len(self._links)])
        if self._unused:
            self._others = self._reactor.call_later(_OTHERS_S, self._connect_others)

    def _connect_others(self) -> None:
        self._others = None
        for link in tuple(self._unused):
            self._use(link)

    def _use(self, link: AuthLink) -> AuthLink:
        if link in self._unused:
            self._unused.discard(link)
            link.connect()
        return link

    def _on_link_ready(self) -> None:
        if self._on_ready is not None:
            self._drop_timer()
            for link in self._links:
                if link.is_ready:
                    self.mechanisms = link.mechanisms
            on_ready, self._on_ready = self._on_ready, None
            on_ready()
        else:
            self._on_news()

    def link_for(self, mechanism: bytes, response: bytes | None) -> AuthLink:
        """Return the link to the process that has this user; to any when nobody knows yet who he is."""
        number = self._shares.number_for(mechanism, response)
        if number is not None:
            return self._use(self._links[number])
        self._turn += 1
        begin = self._turn % len(self._links)
        order = self._links[begin:] + self._links[:begin]
        link = self._use(order[0])
        return link if link.is_ready else next((other for other in order if other.is_ready), link)

    def lacking(self, service: bytes) -> frozenset[bytes]:
        """Return the capabilities that not every backend has, as far as any of the processes knows."""
        found: frozenset[bytes] = frozenset()
        for link in self._links:
            found |= link.lacking.get(service, frozenset())
        return found

    def close(self) -> None:
        """Let go of the sockets; nothing is asked any more."""
        self._drop_timer()
        for link in self._links:
            link.close()

    def _drop_timer(self) -> None:
        if self._others is not None:
            self._reactor.cancel(self._others)
            self._others = None
