"""Relays on their way from the workers of one version to those of the next, a packet each.

All old workers of a protocol write to one socket, all new ones read from its other end, as from a listener.
An old worker serves a relay until the packet is sent; packets that nobody has taken yet survive any worker.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.ipc.handover import PACKET_BYTES, Facts, HandedRelay, parse_relay, render_relay
from mailproxy.net.direction import WayState
from mailproxy.net.fd_passing import close_all, receive_packet, send_packet
from mailproxy.net.reactor import READ, WRITE, Reactor, Timer
from mailproxy.net.relay import Relay, RelayState

Log = Callable[[Level, str], None]

# Client, backend, and two pipes.
_MAX_FDS = 6
# A pipe of our own is needed to empty theirs.
_NEEDED_FDS = _MAX_FDS + 2
_PAUSE_S = 0.1
# Other senders' packets fill the queue, or too many descriptors are on their way (unix(7)).
_LATER = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS)
_SENDS_PER_TURN = 16
# No way counts as far; whoever says so is not one of us.
_MAX_COUNT = 1 << 62
# Whoever has taken so many leaves the next ones to others for a moment, or the first to wake up gets most.
_TAKES_PER_TURN = 4
_TURN_S = 0.01


def render_state(state: RelayState, info: Facts) -> bytes:
    """Return the packet for a relay; its descriptors go beside it."""
    ways = [way._replace(pending=b"")._asdict() for way in (state.up, state.down)]
    for way in ways:
        del way["pending"]
    return render_relay(HandedRelay(info, ways[0], ways[1], state.up.pending, state.down.pending))


def parse_state(packet: bytes, fds: list[int]) -> tuple[RelayState, Facts]:
    """Read a relay's packet. Raises PeerViolation, and the descriptors are still the caller's."""
    handed = parse_relay(packet)
    up, down = _way(handed.up, handed.up_pending), _way(handed.down, handed.down_pending)
    if len(fds) != 2 + 2 * bool(up.held_bytes) + 2 * bool(down.held_bytes):
        raise PeerViolation("a relay came with other descriptors than it has")
    return RelayState(up, down, tuple(fds)), handed.info


def _way(facts: Facts, pending: bytes) -> WayState:
    known = {name: value for name, value in facts.items() if name in WayState._fields}
    if not all(isinstance(value, int) and 0 <= value < _MAX_COUNT for value in known.values()):
        raise PeerViolation("malformed way of a relay")
    return WayState(**{**known, "pending": pending})


def _check_kinds(fds: list[int]) -> None:
    """Make sure that there are two sockets, then pipes. Raises PeerViolation."""
    kinds = [stat.S_IFMT(os.fstat(fd).st_mode) for fd in fds]
    if any(kind != (stat.S_IFIFO if place > 1 else stat.S_IFSOCK) for place, kind in enumerate(kinds)):
        raise PeerViolation("a relay came with other descriptors than it has")


class RelaySender:
    """The old worker's side. Owns its end of the socket; the relays are the worker's until `on_sent`.

    `on_idle` is called when no relay waits any more, also if some could not be sent.
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_sent: Callable[[Relay], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._on_sent = on_sent
        self._on_idle = on_idle
        self._waiting: dict[Relay, Facts] = {}
        self._is_watched = False
        self._timer: Timer | None = None
        self.is_closed = False

    @property
    def is_idle(self) -> bool:
        """Whether no relay waits."""
        return not self._waiting

    def offer(self, relay: Relay, info: Facts) -> None:
        """Pass the relay on as soon as the socket takes it, but not before the present batch is over."""
        if not self.is_closed:
            self._waiting[relay] = info
            self._watch()

    def forget(self, relay: Relay) -> None:
        """Leave a relay out that has ended."""
        self._waiting.pop(relay, None)

    def _watch(self) -> None:
        if not self._is_watched and self._timer is None:
            self._is_watched = True
            self._reactor.add(self._socket.fileno(), WRITE, self._on_writable)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._reactor.remove(self._socket.fileno())

    def _on_writable(self, _events: int) -> None:
        for relay in list(self._waiting)[:_SENDS_PER_TURN]:
            if not self._send(relay):
                return
        if not self._waiting:
            self._unwatch()
            self._on_idle()

    def _send(self, relay: Relay) -> bool:
        state = relay.export()
        if state is None:
            del self._waiting[relay]
            return True
        packet = render_state(state, self._waiting[relay])
        try:
            if len(packet) > PACKET_BYTES:
                raise OSError(errno.EMSGSIZE, "too much waits for a slow reader")
            send_packet(self._socket, packet, state.fds)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                del self._waiting[relay]
                return True
            if error.errno in _LATER:
                self._pause()
            else:
                self.close()  # Nobody is there to take them any more: they stay with us.
            return False
        del self._waiting[relay]
        self._on_sent(relay)
        return True

    def _pause(self) -> None:
        # A socket may be writable and still refuse descriptors.
        self._unwatch()
        self._timer = self._reactor.call_later(_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if self._waiting and not self.is_closed:
            self._watch()

    def close(self) -> None:
        """Send no more; relays that wait stay with the worker."""
        if not self.is_closed:
            self.is_closed = True
            self._waiting.clear()
            self._unwatch()
            self._socket.close()


class RelayReceiver:
    """The new worker's side. Owns its copy of the socket; `on_relay` owns what it is given.

    Takes one relay a batch, so that all workers get their share.
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_relay: Callable[[RelayState, Facts], None],
        log: Log,
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._on_relay = on_relay
        self._log = log
        self._is_listening = False
        self._is_paused = False
        self._is_closed = False
        self._taken = 0

    def listen(self) -> None:
        """Take relays from now on, unless all had come before this process began."""
        if not (self._is_listening or self._is_closed) and self._socket.fileno() >= 0:
            self._is_listening = True
            if not self._is_paused:
                self._reactor.add(self._socket.fileno(), READ, self._on_readable)

    def stop(self) -> None:
        """Take no more."""
        if self._is_listening:
            self._is_listening = False
            if not self._is_paused:
                self._reactor.remove(self._socket.fileno())

    def close(self) -> None:
        """Take no more, for good."""
        if not self._is_closed:
            self.stop()
            self._is_closed = True
            self._socket.close()

    def take_rest(self) -> None:
        """Take all that are on their way, as nobody comes after this process; others stay where they are."""
        if self._is_closed:
            return
        found = []
        with contextlib.suppress(OSError):
            # From here on nothing can be sent; what was is still to be read, in whichever process (unix(7)).
            self._socket.shutdown(socket.SHUT_RD)
            while self._has_room() and (one := self._receive()) is not None:
                found.append(one)
        self.close()
        for packet, fds in found:
            self._take(packet, fds)

    def _on_readable(self, _events: int) -> None:
        if not self._has_room():
            self._pause(_PAUSE_S)
            return
        try:
            found = self._receive()
        except BlockingIOError:
            return  # Another worker was faster.
        except OSError as error:
            self._log(Level.ERROR, f"Can't take over a session: {error}")
            return
        if found is None:
            self.close()  # All have come.
        else:
            self._take(*found)

    def _receive(self) -> tuple[bytes, list[int]] | None:
        """Return a packet and its descriptors, None when no more will come. Raises OSError."""
        try:
            packet, fds = receive_packet(self._socket, PACKET_BYTES + 1, _MAX_FDS)
        except ValueError as error:
            raise OSError(errno.EMSGSIZE, str(error)) from error
        return (packet, fds) if packet else None

    def _take(self, packet: bytes, fds: list[int]) -> None:
        try:
            state, info = parse_state(packet, fds)
            _check_kinds(fds)
        except PeerViolation as error:
            close_all(fds)
            self._log(Level.ERROR, f"BUG: {error}")
            return
        self._on_relay(state, info)
        self._taken += 1
        if self._taken % _TAKES_PER_TURN == 0 and self._is_listening:
            self._pause(_TURN_S)

    def _has_room(self) -> bool:
        """Whether a packet's descriptors and what they need would fit: the kernel drops those that do not."""
        spare: list[int] = []
        try:
            while len(spare) < _NEEDED_FDS:
                spare.append(os.dup(self._socket.fileno()))
        except OSError:
            return False
        finally:
            close_all(spare)
        return True

    def _pause(self, for_s: float) -> None:
        self._reactor.remove(self._socket.fileno())
        self._is_paused = True
        self._reactor.call_later(for_s, self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        if self._is_listening and not self._is_closed:
            self._reactor.add(self._socket.fileno(), READ, self._on_readable)
