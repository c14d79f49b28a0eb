"""One way of a relay: what a source sends is passed on to a destination.

A way reads only while its destination takes everything. Small data go by one read and one write, what fills
such a read by larger ones; a way that fills these too is bulk and is spliced through a borrowed pipe, until
it slows down.
"""

from __future__ import annotations

import os
import socket
from typing import NamedTuple, Protocol

from mailproxy.net.pipes import PIPE_BYTES, Pipe, PipePool
from mailproxy.net.reactor import DATA
from mailproxy.net.tls import Stream, TlsSocket

# As much as fits into the largest block of Python's own allocator: a read into a page of the C library's
# memory, which has to be taken and given back, costs 0.2 us more, a twentieth of passing it on.
_LITTLE_BYTES = 512 - b"".__sizeof__()
_SMALL_BYTES = 4096
# Whether a socket blocks is a matter of all who hold it, and a relay of another process may have its holder
# there yet. So each call says that it does not wait, which costs nothing.
_NOW = int(socket.MSG_DONTWAIT)
_MORE = int(socket.MSG_MORE)
# The most that one direction moves in a batch: a fast session must not starve a hundred interactive ones.
_TURN_BYTES = 1 << 20
_LARGE_BYTES = 65536
# A bulk direction that moves less than this in a turn is small again.
_BULK_BYTES = 2 * _SMALL_BYTES
_SPLICE_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class WayState(NamedTuple):
    """A way without its sockets. `pending` waits for the destination, `held_bytes` do so in a pipe."""

    pending: bytes = b""
    held_bytes: int = 0
    total_bytes: int = 0
    is_bulk: bool = False
    source_ended: bool = False
    source_broken: bool = False
    ended: bool = False
    end_said: bool = False
    ended_first: bool = False


class Turner(Protocol):
    """Who has both ways."""

    def turn(self, way: Direction, events: int) -> None:
        """Take events of the source of `way` that are not the common ones, or want a closer look."""


class Direction:
    """One way of a relay. `ended` means that nothing more will be read or written this way.

    Whoever owns it takes `relay` from it in the end: they know each other, and are to be freed at once.
    """

    __slots__ = (
        "destination",
        "end_said",
        "ended",
        "ended_first",
        "is_bulk",
        "is_stalled",
        "is_steady",
        "pending",
        "pipe",
        "relay",
        "source",
        "source_broken",
        "source_ended",
        "source_fd",
        "total_bytes",
        "wants_input",
    )

    def __init__(self, source: Stream, destination: Stream, relay: Turner) -> None:
        self.relay: Turner | None = relay
        self.source = source
        self.source_fd = source.fileno()
        self.destination = destination
        self.pending = b""
        self.pipe: Pipe | None = None
        self.total_bytes = 0
        self.is_bulk = False
        # What follows from the rest, worked out by `settle` once a turn and asked more often.
        self.is_stalled = False
        """Whether bytes wait for the destination."""
        self.wants_input = True
        """Whether the source is to be read."""
        self.is_steady = True
        """Whether the next small read may just be passed on."""
        self.source_ended = False
        self.source_broken = False
        self.ended = False
        self.end_said = False
        self.ended_first = False

    def state(self) -> WayState:
        """Describe the way as it is between two turns."""
        return WayState(
            self.pending,
            self.pipe.held_bytes if self.pipe else 0,
            self.total_bytes,
            self.is_bulk,
            self.source_ended,
            self.source_broken,
            self.ended,
            self.end_said,
            self.ended_first,
        )

    def restore(self, state: WayState, held: bytes) -> None:
        """Be in the state that another way described, whose pipe held these bytes."""
        self.pending = state.pending + held
        self.total_bytes = state.total_bytes
        self.is_bulk = state.is_bulk
        self.source_ended = state.source_ended
        self.source_broken = state.source_broken
        self.ended = state.ended
        self.end_said = state.end_said
        self.ended_first = state.ended_first

    def move(self, pipes: PipePool, is_last: bool = False) -> None:
        """Pass on what is there, within one turn; `is_last` if the source has sent its FIN."""
        if self.ended or ((self.pending or self.pipe is not None) and not self._drain(pipes)):
            return
        if not self.source_ended:
            if self.is_bulk:
                self._splice(pipes)
            elif is_last:
                self._copy_last()
            else:
                self._copy()
        if self.source_ended and not self.pending and self.pipe is None:
            self.ended = True

    def on_source(self, events: int) -> None:
        """Take an event of the source: mostly one small read that is written whole.

        All written out, as a client's round trip is two of these.
        """
        if events == DATA and self.is_steady:
            try:
                data = self.source.recv(_LITTLE_BYTES, _NOW)
            except BlockingIOError:
                return
            except OSError:
                self.source_broken, data = True, b""
            size_bytes = len(data)
            if size_bytes:
                try:
                    sent_bytes = self.destination.send(data, _NOW)
                except BlockingIOError:
                    sent_bytes = 0
                except OSError:
                    self.abandon()
                    sent_bytes = 0
                self.total_bytes += sent_bytes
                # TLS gives a whole record, whatever the limit.
                if sent_bytes == size_bytes != _LITTLE_BYTES and size_bytes < _SMALL_BYTES:
                    return
                if not self.ended:
                    self.pending = data[sent_bytes:]
            else:
                self.source_ended = True
        if self.relay is not None:
            self.relay.turn(self, events)

    def settle(self) -> None:
        """Note where the way stands at the end of a turn that was not the common one."""
        self.is_stalled = bool(self.pending) or self.pipe is not None
        self.wants_input = not (self.ended or self.source_ended or self.is_stalled)
        self.is_steady = self.wants_input and not self.is_bulk

    def _read(self, limit_bytes: int) -> bytes:
        """Read once; empty when there is nothing now, or nothing any more."""
        try:
            data = self.source.recv(limit_bytes, _NOW)
        except BlockingIOError:
            return b""
        except OSError:
            self.source_broken = True
            data = b""
        if not data:
            self.source_ended = True
        return data

    def _copy(self, limit_bytes: int = _SMALL_BYTES) -> int:
        """Pass on one read; returns how many bytes it brought."""
        data = self._read(limit_bytes)
        if data:
            self.is_bulk = len(data) >= _SMALL_BYTES
            self.write(data)
        return len(data)

    def _copy_last(self) -> None:
        """Pass on what stood before a FIN that has come, so that ours can leave in the same packet.

        A backend says goodbye and closes; each packet costs the kernel 15 to 30 us, a tenth of a login.
        """
        data = self._read(_SMALL_BYTES)
        if 0 < len(data) < _SMALL_BYTES:
            data += self._read(_SMALL_BYTES)
        if data:
            self.is_bulk = len(data) >= _SMALL_BYTES
            self.write(data, _MORE if self.source_ended else 0)

    def write(self, data: bytes, flags: int = 0) -> None:
        """Send bytes, or keep them until the destination takes them."""
        try:
            sent_bytes = self.destination.send(data, flags | _NOW)
        except BlockingIOError:
            sent_bytes = 0
        except OSError:
            self.abandon()
            return
        self.total_bytes += sent_bytes
        self.pending = data[sent_bytes:] if sent_bytes < len(data) else b""

    def _splice(self, pipes: PipePool) -> None:
        pipe = pipes.borrow()
        if pipe is None:
            self._copy()
            return
        self.pipe = pipe
        moved_bytes = 0
        while moved_bytes < _TURN_BYTES:
            try:
                got_bytes = os.splice(self.source_fd, pipe.write_fd, PIPE_BYTES, flags=_SPLICE_FLAGS)
            except BlockingIOError:
                break
            except OSError:
                self.source_broken = True
                got_bytes = 0
            if got_bytes == 0:
                self.source_ended = True
                break
            pipe.held_bytes = got_bytes
            moved_bytes += got_bytes
            if not self._empty_pipe(pipe):
                return
            if got_bytes < _BULK_BYTES:
                break
        self.is_bulk = moved_bytes >= _BULK_BYTES
        self.pipe = None
        pipes.give_back(pipe)

    def _empty_pipe(self, pipe: Pipe) -> bool:
        """Write until the pipe is empty; False when the destination is full or gone."""
        while pipe.held_bytes:
            try:
                sent_bytes = os.splice(
                    pipe.read_fd, self.destination.fileno(), pipe.held_bytes, flags=_SPLICE_FLAGS
                )
            except BlockingIOError:
                return False
            except OSError:
                self.abandon()
                return False
            pipe.held_bytes -= sent_bytes
            self.total_bytes += sent_bytes
        return True

    def _drain(self, pipes: PipePool) -> bool:
        """Send what waits; whether all of it went."""
        if self.pending:
            self.write(self.pending)
            if self.pending or self.ended:
                return False
        if self.pipe is not None:
            if not self._empty_pipe(self.pipe):
                return False
            pipes.give_back(self.pipe)
            self.pipe = None
        return True

    def say_end(self, other_is_quiet: bool) -> None:
        """Pass the end on as a FIN; before it goodbye by TLS, if nothing comes the other way."""
        self.end_said = True
        if other_is_quiet and isinstance(self.destination, TlsSocket):
            self.destination.say_goodbye()
        try:
            self.destination.shutdown(socket.SHUT_WR)
        except OSError:
            return  # He has gone altogether.

    def abandon(self) -> None:
        """End this way: its destination takes no more."""
        self.pending = b""
        self.ended = True
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None


class CopyingDirection(Direction):
    """A way whose bytes all pass through this process.

    Such is one that came from another process, which may have kept the sockets: when that sets them
    blocking, a splice into a full one waits for its reader, whatever the flags say.
    """

    __slots__ = ()

    def _splice(self, pipes: PipePool) -> None:
        moved_bytes = 0
        while moved_bytes < _TURN_BYTES and not (self.pending or self.ended or self.source_ended):
            got_bytes = self._copy(_LARGE_BYTES)
            if not got_bytes:
                break
            moved_bytes += got_bytes
        self.is_bulk = moved_bytes >= _BULK_BYTES


class TlsDirection(CopyingDirection):
    """A way with TLS on a side: a record at a time, or more."""

    __slots__ = ()

    def write(self, data: bytes, flags: int = 0) -> None:
        """Send bytes, of which a TLS socket takes one record at a time."""
        super().write(data, flags)
        while self.pending:
            held_bytes = len(self.pending)
            super().write(self.pending, flags)
            if len(self.pending) == held_bytes:
                break
