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

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Callable
from socket import SocketType

from mailproxy.net.reactor import GONE, READ, WRITE, Reactor, Timer
from mailproxy.net.tls import Stream, TlsSocket

_SMALL_BYTES = 4096
_PIPE_BYTES = 1 << 20
_IDLE_PIPES = 8
# The most that one direction moves in a batch: a fast session must not starve a hundred interactive ones.
_TURN_BYTES = 1 << 20
_TLS_READ_BYTES = 65536
# A bulk direction that moves less than this in a turn is small again.
_BULK_BYTES = 2 * _SMALL_BYTES
_SPLICE_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_NO_PIPE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class _Pipe:
    """A kernel buffer; `held_bytes` says how much waits in it."""

    __slots__ = ("held_bytes", "read_fd", "write_fd")

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held_bytes = 0
        # Past the user's share of pipe memory the default size serves as well, only slower.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


class PipePool:
    """Pipes between turns. One per process."""

    def __init__(self) -> None:
        self._idle: list[_Pipe] = []

    def borrow(self) -> _Pipe | None:
        """Return an empty pipe, or None when the process has no descriptor left for one."""
        if self._idle:
            return self._idle.pop()
        try:
            return _Pipe()
        except OSError as error:
            if error.errno in _NO_PIPE:
                return None
            raise

    def give_back(self, pipe: _Pipe) -> None:
        """Take a pipe back; one that still holds bytes is closed, its bytes belong to nobody else."""
        if pipe.held_bytes == 0 and len(self._idle) < _IDLE_PIPES:
            self._idle.append(pipe)
        else:
            pipe.close()


class _Direction:
    """One way of a relay. `ended` means that nothing more will be read or written this way."""

    __slots__ = (
        "destination",
        "destination_fd",
        "end_said",
        "ended",
        "ended_first",
        "is_bulk",
        "pending",
        "pipe",
        "source",
        "source_broken",
        "source_ended",
        "source_fd",
        "total_bytes",
    )

    def __init__(self, source: Stream, destination: Stream) -> None:
        self.source = source
        self.source_fd = source.fileno()
        self.destination = destination
        self.destination_fd = destination.fileno()
        self.pending = b""
        self.pipe: _Pipe | None = None
        self.total_bytes = 0
        self.is_bulk = False
        self.source_ended = False
        self.source_broken = False
        self.ended = False
        self.end_said = False
        self.ended_first = False

    @property
    def wants_input(self) -> bool:
        """Whether the source is to be read."""
        return not (self.ended or self.source_ended or self.pending or self.pipe is not None)

    @property
    def is_stalled(self) -> bool:
        """Whether bytes wait for the destination."""
        return bool(self.pending) or self.pipe is not None

    def deliver(self, data: bytes) -> None:
        """Send bytes that come before anything of the source."""
        if data:
            self._write(data)

    def move(self, pipes: PipePool) -> None:
        """Pass on what is there, within one turn."""
        if self.ended or (self.is_stalled and not self._drain(pipes)):
            return
        if not self.source_ended:
            if self.is_bulk:
                self._splice(pipes)
            else:
                self._copy()
        if self.source_ended and not self.is_stalled:
            self.ended = True

    def pass_small(self) -> bool:
        """Do the common thing, one small read that is written whole; False when `move` must look closer."""
        if self.is_bulk or self.pending or self.pipe is not None or self.source_ended or self.ended:
            return False
        self._copy()
        return not (self.pending or self.source_ended or self.ended)

    def _copy(self, limit_bytes: int = _SMALL_BYTES) -> int:
        """Pass on one read; returns how many bytes it brought."""
        try:
            data = self.source.recv(limit_bytes)
        except BlockingIOError:
            return 0
        except OSError:
            self.source_ended = self.source_broken = True
            return 0
        if not data:
            self.source_ended = True
            return 0
        self.is_bulk = len(data) >= _SMALL_BYTES
        self._write(data)
        return len(data)

    def _write(self, data: bytes) -> None:
        try:
            sent_bytes = self.destination.send(data)
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
                got_bytes = os.splice(self.source_fd, pipe.write_fd, _PIPE_BYTES, flags=_SPLICE_FLAGS)
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

    def _empty_pipe(self, pipe: _Pipe) -> bool:
        """Write until the pipe is empty; False when the destination is full or gone."""
        while pipe.held_bytes:
            try:
                sent_bytes = os.splice(
                    pipe.read_fd, self.destination_fd, pipe.held_bytes, flags=_SPLICE_FLAGS
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
            self._write(self.pending)
            if self.pending or self.ended:
                return False
        if self.pipe is not None:
            if not self._empty_pipe(self.pipe):
                return False
            pipes.give_back(self.pipe)
            self.pipe = None
        return True

    def say_end(self, other_is_quiet: bool) -> None:
        """Pass the end on as a FIN, once; before it goodbye by TLS, if nothing comes the other way."""
        if self.ended and not self.end_said:
            self.end_said = True
            if other_is_quiet and isinstance(self.destination, TlsSocket):
                self.destination.say_goodbye()
            with contextlib.suppress(OSError):
                self.destination.shutdown(socket.SHUT_WR)

    def abandon(self) -> None:
        """End this way: its destination takes no more."""
        self.pending = b""
        self.ended = True
        if self.pipe is not None:
            self.pipe.close()
            self.pipe = None


class _TlsDirection(_Direction):
    """A way with TLS on a side: the bytes pass through this process, a record or more at a time."""

    __slots__ = ()

    def _splice(self, pipes: PipePool) -> None:
        moved_bytes = 0
        while moved_bytes < _TURN_BYTES and self.wants_input:
            got_bytes = self._copy(_TLS_READ_BYTES)
            if not got_bytes:
                break
            moved_bytes += got_bytes
        self.is_bulk = moved_bytes >= _BULK_BYTES

    def _write(self, data: bytes) -> None:
        # A TLS socket takes one record at a time.
        super()._write(data)
        while self.pending:
            held_bytes = len(self.pending)
            super()._write(self.pending)
            if len(self.pending) == held_bytes:
                break


# A client who stays when his backend has ended gets so long without a byte; a backend that is silent after
# its client has said his last word may be searching, and gets longer.
_LEFT_CLIENT_S = 60.0
_LEFT_BACKEND_S = 600.0


class Relay:
    """Owns both sockets, which are non-blocking, and closes them.

    Both must be watched by the reactor for READ when the relay starts. `on_end` is called once, after they
    are closed.
    """

    __slots__ = ("_backend_events", "_client_events", "_on_end", "_pipes", "_reactor", "_timer", "down", "up")

    def __init__(
        self,
        reactor: Reactor,
        pipes: PipePool,
        client: Stream,
        backend: Stream,
        on_end: Callable[[Relay], None],
    ) -> None:
        self._reactor = reactor
        self._pipes = pipes
        self._on_end = on_end
        is_plain = isinstance(client, SocketType) and isinstance(backend, SocketType)
        direction = _Direction if is_plain else _TlsDirection
        self.up = direction(client, backend)
        self.down = direction(backend, client)
        self._client_events = self._backend_events = READ
        self._timer: Timer | None = None

    def start(self, to_backend: bytes, to_client: bytes) -> None:
        """Deliver what the login left over, then relay."""
        self._reactor.replace(self.up.source_fd, self._on_client)
        self._reactor.replace(self.down.source_fd, self._on_backend)
        self.up.deliver(to_backend)
        self.down.deliver(to_client)
        self._settle()

    def _on_client(self, events: int) -> None:
        if events == READ and self.up.pass_small():
            return
        if events & (READ | GONE):
            self.up.move(self._pipes)
        if events & (WRITE | GONE) and self.down.is_stalled:
            self.down.move(self._pipes)
        self._settle()

    def _on_backend(self, events: int) -> None:
        if events == READ and self.down.pass_small():
            return
        if events & (READ | GONE):
            self.down.move(self._pipes)
        if events & (WRITE | GONE) and self.up.is_stalled:
            self.up.move(self._pipes)
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
                self.close()
                return
            if self._timer is None:
                self._limit_rest()
            # A backend may always be sending; a client whose backend has left is silent, or uploads in vain.
            up.say_end(other_is_quiet=False)
            down.say_end(other_is_quiet=not up.is_bulk)
        events = (READ if up.wants_input else 0) | (WRITE if down.is_stalled else 0)
        if events != self._client_events:
            self._client_events = self._watch(up.source_fd, self._client_events, events, self._on_client)
        events = (READ if down.wants_input else 0) | (WRITE if up.is_stalled else 0)
        if events != self._backend_events:
            self._backend_events = self._watch(down.source_fd, self._backend_events, events, self._on_backend)

    def _limit_rest(self) -> None:
        """Close when the way that is left moves nothing for long: its peer may have forgotten it."""
        rest, limit_s = (self.down, _LEFT_BACKEND_S) if self.up.ended else (self.up, _LEFT_CLIENT_S)
        moved_bytes = rest.total_bytes

        def look() -> None:
            self._timer = None
            if rest.total_bytes == moved_bytes:
                self.close()
            else:
                self._limit_rest()

        self._timer = self._reactor.call_later(limit_s, look)

    def _watch(self, fd: int, old: int, new: int, callback: Callable[[int], None]) -> int:
        # Hang-up is told whether asked for or not: a side that waits for nothing must leave the epoll set,
        # or a peer that is gone would keep the loop spinning until the other side takes its bytes.
        if not new:
            self._reactor.remove(fd)
        elif not old:
            self._reactor.add(fd, new, callback)
        else:
            self._reactor.change(fd, new)
        return new

    def close(self) -> None:
        """End both ways at once and close both descriptors."""
        for direction in (self.up, self.down):
            direction.abandon()
        for direction, events in ((self.up, self._client_events), (self.down, self._backend_events)):
            if events:
                self._reactor.forget(direction.source_fd)
            direction.source.close()
        if self._timer is not None:
            self._reactor.cancel(self._timer)
        self._on_end(self)
