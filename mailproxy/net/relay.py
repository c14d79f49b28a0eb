"""Bytes passed between a client and a backend after the login, in both directions, until both have ended.

A direction reads only while its destination takes everything, so a slow reader is felt by the sender and
costs one pipe here. Small data go by one read and one write; a direction that fills a whole read is bulk and
is spliced through a borrowed pipe, never entering this process's memory, until it slows down. An idle relay
holds no pipe and no buffer.

Half-close is passed on: the end of one direction is a FIN on its destination, and the other direction lives
until its own end. A direction whose destination is broken ends, but what that peer had sent before is still
delivered.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from socket import SocketType
from typing import NamedTuple

from mailproxy.net.direction import CopyingDirection, Direction, TlsDirection, WayState
from mailproxy.net.pipes import PipePool, take_from_pipe
from mailproxy.net.reactor import END, GONE, READ, WRITE, Reactor
from mailproxy.net.tls import Stream

# A client who stays when his backend has ended gets so long without a byte; a backend that is silent after
# its client has said his last word may be searching, and gets longer.
_LEFT_CLIENT_S = 60.0
_LEFT_BACKEND_S = 600.0
_NO_LINGER = struct.pack("ii", 0, 0)


class RelayState(NamedTuple):
    """A plain relay as another process can go on with it.

    `fds` are the client's, the backend's, then for each way that holds bytes in a pipe the pipe's two.
    """

    up: WayState
    down: WayState
    fds: tuple[int, ...]


class Relay:
    """Owns both sockets, which are non-blocking, and closes them.

    Both must be watched by the reactor for READ when the relay starts. `on_end` is called once, after they
    are closed.
    """

    # fmt: off
    __slots__ = (
        "_backend_events", "_client_events", "_is_adopted", "_on_end", "_pipes", "_reactor",
        "_rest_bytes",
        "down", "up",
    )
    # fmt: on

    def __init__(
        self,
        reactor: Reactor,
        pipes: PipePool,
        client: Stream,
        backend: Stream,
        on_end: Callable[[Relay], None],
        *,
        is_adopted: bool = False,
    ) -> None:
        self._reactor = reactor
        self._pipes = pipes
        self._on_end = on_end
        is_plain = isinstance(client, SocketType) and isinstance(backend, SocketType)
        direction = TlsDirection if not is_plain else CopyingDirection if is_adopted else Direction
        self.up = direction(client, backend, self)
        self.down = direction(backend, client, self)
        self._client_events = self._backend_events = READ
        self._is_adopted = is_adopted
        self._rest_bytes = -1
        """What the way that is left had moved when it was looked at last; -1 while both live."""

    def start(self, to_backend: bytes, to_client: bytes) -> None:
        """Deliver what the login left over, then relay."""
        up, down = self.up, self.down
        self._reactor.replace(up.source_fd, up.on_source)
        self._reactor.replace(down.source_fd, down.on_source)
        if to_backend:
            up.write(to_backend)
        if to_client:
            down.write(to_client)
        if up.pending or up.ended or down.pending or down.ended:
            self._settle()

    def turn(self, way: Direction, events: int) -> None:
        """Take events of one side that its way could not deal with alone."""
        if events & (READ | GONE):
            way.move(self._pipes, bool(events & END))
        back = self.down if way is self.up else self.up
        if events & (WRITE | GONE) and back.is_stalled:
            back.move(self._pipes)
        self._settle()

    def _settle(self) -> None:
        """Watch for what each side waits for now; close when both ways have ended."""
        up, down = self.up, self.down
        # Who was reset takes nothing any more either.
        if up.source_broken:
            down.abandon()
        if down.source_broken:
            up.abandon()
        if up.ended or down.ended:
            if not (up.end_said or down.end_said):
                # A way ends by its source's end, or because its destination is broken.
                by_client = up.source_ended if up.ended else not down.source_ended
                (up if by_client else down).ended_first = True
            if up.ended and down.ended:
                if not (up.source_ended or down.end_said):
                    # The client still sends: what is unread makes a reset of our close, and the kernel would
                    # drop last words that wait for the end.
                    down.say_end(other_is_quiet=False)
                self.close()
                return
            if self._rest_bytes < 0:
                self._limit_rest()
            # A backend may always be sending; a client whose backend has left is silent, or uploads in vain.
            if up.ended and not up.end_said:
                up.say_end(other_is_quiet=False)
            if down.ended and not down.end_said:
                down.say_end(other_is_quiet=not up.is_bulk)
        up.settle()
        down.settle()
        events = (READ if up.wants_input else 0) | (WRITE if down.is_stalled else 0)
        if events != self._client_events:
            self._client_events = self._watch(up, self._client_events, events)
        events = (READ if down.wants_input else 0) | (WRITE if up.is_stalled else 0)
        if events != self._backend_events:
            self._backend_events = self._watch(down, self._backend_events, events)

    def _limit_rest(self) -> None:
        """Close when the way that is left moves nothing for long: its peer may have forgotten it."""
        rest, limit_s = (self.down, _LEFT_BACKEND_S) if self.up.ended else (self.up, _LEFT_CLIENT_S)
        self._rest_bytes = rest.total_bytes
        self._reactor.set_deadline(self, self._reactor.now + limit_s)

    def on_deadline(self) -> None:
        """Close the way that is left if it has moved nothing since the other one ended, or the last look."""
        rest = self.down if self.up.ended else self.up
        if rest.total_bytes == self._rest_bytes:
            self.close()
        else:
            self._limit_rest()

    def _watch(self, way: Direction, old: int, new: int) -> int:
        # Hang-up is told whether asked for or not: a side that waits for nothing must leave the epoll set,
        # or a peer that is gone would keep the loop spinning until the other side takes its bytes.
        if not new:
            self._reactor.remove(way.source_fd)
        elif not old:
            self._reactor.add(way.source_fd, new, way.on_source)
        else:
            self._reactor.change(way.source_fd, new)
        return new

    def export(self) -> RelayState | None:
        """Describe the relay for another process; None with TLS on a side, whose keys cannot leave.

        The descriptors are still ours, until `let_go`.
        """
        if not (isinstance(self.up.source, SocketType) and isinstance(self.down.source, SocketType)):
            return None
        pipes = [direction.pipe for direction in (self.up, self.down) if direction.pipe is not None]
        fds = [fd for pipe in pipes for fd in (pipe.read_fd, pipe.write_fd)]
        return RelayState(self.up.state(), self.down.state(), (self.up.source_fd, self.down.source_fd, *fds))

    @classmethod
    def adopt(
        cls, reactor: Reactor, pipes: PipePool, state: RelayState, on_end: Callable[[Relay], None]
    ) -> Relay:
        """Own a relay of another process, with its descriptors; `resume` goes on with it.

        Whoever handed it over may be hostile and have kept them: nothing here waits for him.
        """
        client, backend = (SocketType(fileno=fd) for fd in state.fds[:2])
        rest, is_whole = iter(state.fds[2:]), True
        relay = cls(reactor, pipes, client, backend, on_end, is_adopted=True)
        for direction, way in ((relay.up, state.up), (relay.down, state.down)):
            held = take_from_pipe(next(rest), next(rest), way.held_bytes) if way.held_bytes else b""
            direction.restore(way, held or b"")
            is_whole = is_whole and held is not None
        client.setblocking(False)
        backend.setblocking(False)
        if not is_whole:
            relay.up.abandon()
            relay.down.abandon()
        return relay

    def resume(self) -> None:
        """Go on where the other process stopped."""
        for way in (self.up, self.down):
            self._reactor.add(way.source_fd, READ, way.on_source)
        self._settle()

    def let_go(self) -> None:
        """Forget the relay, which another process has: no peer is told anything, nor is `on_end` called."""
        for direction, events in ((self.up, self._client_events), (self.down, self._backend_events)):
            if events:
                # The sockets live on elsewhere: closing them would not take them off the epoll set.
                self._reactor.remove(direction.source_fd)
            direction.source.close()
            direction.relay = None
            if direction.pipe is not None:
                direction.pipe.close()
        if self._rest_bytes >= 0:
            self._reactor.drop_deadline(self)

    def close(self) -> None:
        """End both ways at once and close both descriptors."""
        for direction, events in ((self.up, self._client_events), (self.down, self._backend_events)):
            if not direction.ended:
                direction.abandon()
            if self._is_adopted and isinstance(direction.source, SocketType):
                # Whoever handed it over may have made it linger: closing would wait, whatever its mode.
                direction.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            if events and self._is_adopted:
                # He may not have closed his copies yet.
                self._reactor.remove(direction.source_fd)
            elif events:
                self._reactor.forget(direction.source_fd)
            direction.source.close()
            direction.relay = None
        if self._rest_bytes >= 0:
            self._reactor.drop_deadline(self)
        self._on_end(self)
