"""A worker's relays come from the version of before, and go to the one behind."""

from __future__ import annotations

import socket
from collections.abc import Callable

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.ipc.handover import Facts
from mailproxy.net.fd_passing import close_all
from mailproxy.net.pipes import PipePool
from mailproxy.net.reactor import Reactor
from mailproxy.net.relay import Relay, RelayState
from mailproxy.process.relay_passing import RelayReceiver, RelaySender
from mailproxy.process.roster import RelayInfo
from mailproxy.process.user_ip_table import Places


class Handover:
    """Works on the worker's own table of relays.

    `on_change` is called with the facts of a relay that has come, and with None when one has gone
    or cannot go.
    `inlet` is the socket that relays come from, None for a version that takes nothing over. `on_end` is told
    the end of a relay that came from there.
    """

    def __init__(
        self,
        reactor: Reactor,
        pipes: PipePool,
        relays: dict[Relay, RelayInfo],
        places: Places,
        inlet: socket.socket | None,
        on_end: Callable[[Relay], None],
        on_change: Callable[[RelayInfo | None], None],
        log: Callable[[Level, str], None],
    ) -> None:
        self._reactor = reactor
        self._pipes = pipes
        self._relays = relays
        self._places = places
        self._on_end = on_end
        self._on_change = on_change
        self._log = log
        self._sender: RelaySender | None = None
        self.is_passing = False
        """Whether relays are passed on: then each that begins is offered, and each that ends forgotten."""
        self._receiver = RelayReceiver(reactor, inlet, self._take, log) if inlet else None

    # -- what comes ---------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take relays from now on."""
        if self._receiver is not None:
            self._receiver.listen()

    def stop(self) -> None:
        """Take no more, unless it is the rest."""
        if self._receiver is not None:
            self._receiver.stop()

    def take_rest(self) -> None:
        """Take all that are on their way: the service ends, and nobody else would."""
        if self._receiver is not None:
            self._receiver.take_rest()

    def _take(self, state: RelayState, facts: Facts) -> None:
        # An old worker that is captured can say anything: it may cost us nothing but its own relay.
        try:
            info = _info(facts)
        except PeerViolation as error:
            close_all(state.fds)
            self._log(Level.ERROR, f"BUG: {error}")
            return
        relay = Relay.adopt(self._reactor, self._pipes, state, self._on_end)
        info = info._replace(row=self._places.adopt(info.user, info.rip))
        self._relays[relay] = info
        relay.resume()
        self._on_change(info)

    # -- what goes ----------------------------------------------------------------------------------------

    def begin(self, outlet_fd: int) -> None:
        """Pass every plain relay on, those too that are still to come."""
        outlet = socket.socket(fileno=outlet_fd)
        if self._sender is None:
            self._sender = RelaySender(self._reactor, outlet, self._on_sent, lambda: self._on_change(None))
            self.is_passing = True
            for relay in self._relays:
                self.offer(relay)
        else:
            outlet.close()

    def offer(self, relay: Relay) -> None:
        """Pass this relay on too."""
        if self._sender is not None:
            self._sender.offer(relay, self._relays[relay]._asdict())

    def forget(self, relay: Relay) -> None:
        """Leave out a relay that has ended."""
        if self._sender is not None:
            self._sender.forget(relay)

    def finish(self) -> None:
        """No login will become a relay any more: let go when the last one has been passed on."""
        if self._sender is not None and self._sender.is_idle:
            self._sender.close()

    def _on_sent(self, relay: Relay) -> None:
        self._places.give_back(self._relays.pop(relay).row)
        relay.let_go()
        self._on_change(None)


def _info(facts: Facts) -> RelayInfo:
    """Read whose relay it is. Raises PeerViolation."""
    match facts:
        case {"user": str(user), "rip": str(rip), "session_id": str(session_id), "since_s": float(since_s)}:
            if user.isascii() and rip.isascii() and session_id.isascii():
                return RelayInfo(printable(user), rip, session_id, since_s)
    raise PeerViolation("malformed facts about the user of a relay")
