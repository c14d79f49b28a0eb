"""Children of the master: birth, log lines, status reports, death."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import traceback
from _signal import set_wakeup_fd  # type: ignore[import-not-found]
from _socket import socketpair
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from socket import SocketType
from typing import NoReturn, Protocol

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.ipc import log_frames
from mailproxy.ipc.status import Order, State, Status, parse_status, render_order
from mailproxy.net.fd_passing import close_all
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.signals import block_all, unblock_all
from mailproxy.process.child import keep_only, wire_standard_fds
from mailproxy.process.log_sink import LogSink

EXIT_FATAL = 89
EXIT_BUG = 70
_EXIT_REASONS = {
    80: "Can't open log file",
    81: "Can't write to log file",
    82: "Internal logging error",
    83: "Out of memory",
    84: "exec() failed",
    EXIT_FATAL: "Fatal failure: the reason was logged before",
    EXIT_BUG: "Internal error: please report what was logged before",
}
_SIGNAL_REASONS = {
    "SIGKILL": "by hand, or memory ran out",
    "SIGSEGV": "a bug in a library",
    "SIGBUS": "a bug in a library, or a file was cut",
    "SIGSYS": "a system call that is forbidden",
}
_READ_BYTES = 65536
_AF_UNIX, _SEQPACKET = int(socket.AF_UNIX), int(socket.SOCK_SEQPACKET)
_ASK_AGAIN_S = 0.5
_NEWBORN = Status(State.STARTING, 0, 0)

OnStatus = Callable[["Child", Status], None]
OnDeath = Callable[["Child", bool], None]
Body = Callable[[SocketType], None]


class HasFileno(Protocol):
    """A descriptor and its owner."""

    def fileno(self) -> int:
        """Return the descriptor."""


@dataclass(slots=True, eq=False)
class Child:
    """A living child; `role` is what its log lines begin with, `owner` whoever asked for it."""

    pid: int
    role: str
    kind: str
    owner: object
    channel: SocketType
    born_at_s: float
    status: Status = _NEWBORN
    """What it said last."""
    heard_at_s: float = 0.0
    is_ready: bool = False
    ready_at_s: float = 0.0
    is_heard: bool = True
    was_told_to_end: bool = False
    unsaid: dict[Order, list[int]] = field(default_factory=dict)
    """What it is asked for as soon as it takes orders again, with descriptors of ours."""

    def order(self, order: Order, argument: bytes = b"", fds: Sequence[int] = ()) -> bool:
        """Ask the child for something, and give it copies of `fds`; False when it takes nothing now."""
        packet = render_order(order, argument)
        try:
            if fds:
                # SocketType is what socket.socket wraps, and all that this function uses.
                socket.send_fds(self.channel, [packet], fds, socket.MSG_DONTWAIT)  # type: ignore[arg-type]
            else:
                self.channel.send(packet, socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True


class _LogPipe:
    """One per role: children share it, since the kernel keeps writes of 4 KiB whole."""

    def __init__(self, reactor: Reactor, sink: LogSink, role: str) -> None:
        self._sink = sink
        self._role = role
        self._rest = b""
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        reactor.add(self.read_fd, READ, self._on_readable)

    def _on_readable(self, _events: int) -> None:
        self.read()

    def read(self) -> None:
        """Log what has come: at most what a pipe holds, so all that was there."""
        try:
            data = os.read(self.read_fd, _READ_BYTES)
        except BlockingIOError:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _READ_BYTES:
            lines.append(self._rest)
            self._rest = b""
        parsed = [log_frames.parse(line) for line in lines if line]
        self._sink.write_many([(level, f"{self._role}: {text}") for level, text in parsed])


class Spawner:
    """Forks children and hears of them. Owns the channels and log pipes."""

    def __init__(self, reactor: Reactor, sink: LogSink, on_status: OnStatus, on_death: OnDeath) -> None:
        self._reactor = reactor
        self._sink = sink
        self._on_status = on_status
        self._on_death = on_death
        self._pipes: dict[str, _LogPipe] = {}
        self._asks_again = False
        self.children: dict[int, Child] = {}

    def spawn(self, role: str, kind: str, owner: object, keeps: Sequence[HasFileno], body: Body) -> Child:
        """Fork a child that keeps these and runs `body` with its end of the channel. Raises OSError."""
        pipe = self._pipes.get(role)
        if pipe is None:
            pipe = self._pipes[role] = _LogPipe(self._reactor, self._sink, role)
        # Not socket.socketpair: its wrappers cost 10 us a child.
        ours, theirs = socketpair(_AF_UNIX, _SEQPACKET, 0)
        kept_fds = [theirs.fileno(), *(kept.fileno() for kept in keeps)]
        # A signal in between would find the parent's handlers in the child.
        block_all()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            unblock_all()
            raise
        if pid == 0:
            _be_child(pipe.write_fd, theirs, kept_fds, body)
        unblock_all()
        theirs.close()
        ours.setblocking(False)
        born = Child(pid, role, kind, owner, ours, self._reactor.now)
        self.children[pid] = born
        self._reactor.add(ours.fileno(), READ, lambda _events: self._hear(born))
        return born

    def insist(self, living: Child, order: Order, fds: Sequence[int] = ()) -> None:
        """Ask a child for something that must not be lost, again and again while it takes no orders."""
        if living.order(order, fds=fds):
            return
        close_all(living.unsaid.pop(order, []))
        copies: list[int] = []
        with contextlib.suppress(OSError):  # Without a number for one it goes without.
            copies += [os.dup(fd) for fd in fds]
        living.unsaid[order] = copies
        self._ask_again_later()

    def _ask_again_later(self) -> None:
        # Not when its channel is writable: one that is may still refuse descriptors, for as long as it likes.
        if not self._asks_again:
            self._asks_again = True
            self._reactor.call_later(_ASK_AGAIN_S, self._ask_again)

    def _ask_again(self) -> None:
        self._asks_again = False
        waiting = [living for living in self.children.values() if living.unsaid]
        for living in waiting:
            for order, fds in list(living.unsaid.items()):
                if living.order(order, fds=fds):
                    close_all(living.unsaid.pop(order))
        if any(living.unsaid for living in waiting):
            self._ask_again_later()

    def _hear(self, sender: Child) -> None:
        packet = self._receive(sender)
        if packet:
            self._take(sender, packet)
        elif packet is not None:
            # The death notice; the exit status comes by SIGCHLD.
            self._reactor.remove(sender.channel.fileno())
            sender.is_heard = False
            self.reap()

    @staticmethod
    def _receive(sender: Child) -> bytes | None:
        """Return a packet, an empty one at the end, None when there is none yet."""
        try:
            return sender.channel.recv(64)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _take(self, sender: Child, packet: bytes) -> None:
        try:
            status = parse_status(packet)
        except PeerViolation as error:
            self._sink.write(Level.ERROR, f"BUG: {sender.role} (pid {sender.pid}): {error}")
            return
        has_changed = status.state is not sender.status.state
        sender.status, sender.heard_at_s = status, self._reactor.now
        if not sender.is_ready and status.state is not State.STARTING:
            sender.is_ready, sender.ready_at_s = True, self._reactor.now
        if has_changed:
            self._on_status(sender, status)

    def reap(self) -> None:
        """Take leave of every child that has ended."""
        while self.children:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            dead = self.children.get(pid)
            if dead is not None:
                # A worker whose only client left at once said that it was ready before it died.
                while packet := self._receive(dead):
                    self._take(dead, packet)
                del self.children[pid]
                self._bury(dead, wait_status)

    def _bury(self, dead: Child, wait_status: int) -> None:
        if dead.is_heard:
            self._reactor.remove(dead.channel.fileno())
        dead.channel.close()
        for fds in dead.unsaid.values():
            close_all(fds)
        code = os.waitstatus_to_exitcode(wait_status)
        if code:
            self.drain_logs()
        if code < 0:
            self._sink.write(Level.ERROR, f"child {dead.pid} ({dead.kind}) killed with signal {_name(-code)}")
        elif code > 0:
            reason = f" ({_EXIT_REASONS[code]})" if code in _EXIT_REASONS else ""
            self._sink.write(Level.ERROR, f"child {dead.pid} ({dead.kind}) returned error {code}{reason}")
        self._on_death(dead, code == 0)

    def drain_logs(self) -> None:
        """Log what children have written, before what is said about them.

        What is written meanwhile waits: one that never stops must not keep us here.
        """
        for pipe in self._pipes.values():
            pipe.read()


def _name(number: int) -> str:
    """Return a signal's number and name; those that only the system sends are told by what they mean."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return str(number)
    meaning = _SIGNAL_REASONS.get(name)
    return f"{number} ({name}: {meaning})" if meaning else f"{number} ({name})"


def _be_child(log_fd: int, channel: SocketType, kept_fds: Sequence[int], body: Body) -> NoReturn:
    """Run `body` and end at once: no handler, buffer or object of the parent may act in the child."""
    status = EXIT_BUG
    try:
        set_wakeup_fd(-1)
        wire_standard_fds(log_fd)
        keep_only(kept_fds)
        body(channel)
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else EXIT_BUG
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
