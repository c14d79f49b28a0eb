"""A child's end of the socket pair to the master: its state goes up, orders come down."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from socket import SocketType

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.ipc.status import Order, State, Status, parse_order, render_status
from mailproxy.net.reactor import READ, Reactor

_PACKET_BYTES = 512
# The most that come along with one order.
_FDS = 4
_NOW = int(socket.MSG_DONTWAIT)


class MasterLink:
    """The one of this process; does not own the channel, whose end is the news of the master's death."""

    def __init__(
        self,
        reactor: Reactor,
        log: Callable[[Level, str], None],
        on_order: Callable[[Order, bytes, list[int]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._channel: SocketType
        self._log = log
        self._on_order = on_order
        self._on_lost = on_lost
        self.said: State | None = None
        """The state that the master knows."""

    def open(self, channel: SocketType) -> None:
        """Listen to orders from now on."""
        self._channel = channel
        self._reactor.add(self._channel.fileno(), READ, self._on_readable)

    def say(self, state: State, sessions: int, relays: int) -> None:
        """Report a state that the master does not know yet."""
        try:
            self._channel.send(render_status(Status(state, sessions, relays)), _NOW)
        except OSError:
            return  # A master that does not read for a while must not stop logins; it hears when we settle.
        self.said = state

    def answer(self, sessions: int, relays: int) -> None:
        """Repeat the state, whether it has changed or not."""
        state = State.STARTING if self.said is None else self.said
        with contextlib.suppress(OSError):
            self._channel.send(render_status(Status(state, sessions, relays)), _NOW)

    def _on_readable(self, _events: int) -> None:
        fds: list[int] = []
        try:
            # SocketType is what socket.socket wraps, and all that these two functions use.
            packet, fds, _, _ = socket.recv_fds(
                self._channel,  # type: ignore[arg-type]
                _PACKET_BYTES,
                _FDS,
                _NOW,
            )
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._reactor.remove(self._channel.fileno())
            self._on_lost()
            return
        try:
            order, argument = parse_order(packet)
        except PeerViolation as error:
            for fd in fds:
                os.close(fd)
            self._log(Level.ERROR, f"BUG: master: {error}")
            return
        self._on_order(order, argument, fds)
