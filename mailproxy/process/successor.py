"""The master to come, as the one whose place it takes knows it.

It is started with the command line of this one and is offered the listeners and the lock. It reads the
configuration, starts its auth and login workers, and says when they serve; or it refuses, dies, or says
nothing in time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.ipc.handover import PACKET_BYTES, RELAY_VERSION, Facts, parse_word, render_word, text_list
from mailproxy.net.fd_passing import MAX_FDS, close_all, receive_packet, send_packet
from mailproxy.net.reactor import READ, Reactor, Timer
from mailproxy.process.predecessor import VARIABLE

_READY_S = 60.0
# Where the new process finds its socket.
_CHILD_FD = 3
# What the service manager said to this process alone.
_NOT_FOR_HEIRS = ("WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

OnReady = Callable[[dict[str, int], list[str]], None]
OnFailed = Callable[[list[str]], None]
OnWord = Callable[[str, Facts, Sequence[int]], None]
"""Hears a word with its facts and descriptors, which are closed afterwards."""


class Successor:
    """One attempt. Owns the socket to the new master, and kills a new one that does not become ready.

    `on_ready` gets the descriptors that take relays, by protocol, and closes them; none if the two versions
    know relays differently. Besides, it gets the paths of the new auth sockets. One of `on_ready` and
    `on_failed` is called, unless it was cancelled.
    """

    def __init__(
        self,
        reactor: Reactor,
        log: Callable[[Level, str], None],
        on_ready: OnReady,
        on_failed: OnFailed,
        on_word: OnWord,
    ) -> None:
        self._reactor = reactor
        self._log = log
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._on_word = on_word
        self._socket: socket.socket
        self._pid_fd = -1
        self._timer: Timer | None = None
        self._is_over = False
        self._problems: list[str] = []
        self.pid = 0
        """The new master."""

    def begin(self, base_dir: str, auth_paths: Sequence[str], lock_fd: int, listeners: Sequence[int]) -> None:
        """Start the new master and offer it what we have. Raises OSError when it cannot even be started."""
        fds = [lock_fd, *listeners]
        if len(fds) > MAX_FDS:
            raise OSError(0, f"more than {MAX_FDS - 1} listeners")
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = _start(theirs)
            self._pid_fd = os.pidfd_open(self.pid)
            send_packet(self._socket, render_word("offer", base_dir=base_dir, auth_paths=[*auth_paths]), fds)
        except OSError:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._log(Level.WARNING, f"Upgrade: PID {self.pid} is to take over")
        self._reactor.add(self._socket.fileno(), READ, self._on_readable)
        self._timer = self._reactor.call_later(_READY_S, self._on_time)

    def _on_readable(self, _events: int) -> None:
        try:
            packet, fds = receive_packet(self._socket, PACKET_BYTES)
            word, facts = parse_word(packet) if packet else ("gone", {})
        except BlockingIOError:
            return
        except OSError:
            word, facts, fds = "gone", {}, []  # It has not even read what it was offered.
        except (ValueError, PeerViolation) as error:
            # One that has our place already may say what it likes: what we do not understand is not for us.
            if not self._is_over:
                self._fail([f"the new master speaks another language: {error}"])
            return
        if self._is_over:
            self._on_word(word, facts, fds)
            close_all(fds)
            if word == "gone":
                self._reactor.remove(self._socket.fileno())
                self._socket.close()
        elif word == "ready":
            self._take_ready(facts, fds)
        elif word == "refused" and not self._problems:
            # It ends by itself now; its last step is the end of the socket.
            close_all(fds)
            self._problems = _problems(facts)
        else:
            close_all(fds)
            self._fail(self._problems or ["the new master ended before it was ready; the log says why"])

    def _take_ready(self, facts: Facts, fds: list[int]) -> None:
        try:
            protocols, auth_paths = text_list(facts, "protocols"), text_list(facts, "auth_paths")
        except PeerViolation as error:
            close_all(fds)
            self._fail([f"the new master speaks another language: {error}"])
            return
        outlets = dict(zip(protocols, fds, strict=False))
        if facts.get("relay_version") != RELAY_VERSION or len(fds) != len(protocols):
            close_all(fds)
            outlets = {}
        self._is_over = True
        self._drop_timer()
        os.close(self._pid_fd)
        self._on_ready(outlets, auth_paths)

    def leave(self) -> None:
        """Say that all is the new master's now; words of its own still come to `on_word`."""
        with contextlib.suppress(OSError):
            send_packet(self._socket, render_word("yours"), ())

    def cancel(self) -> None:
        """Have the new master end, since this one is about to."""
        if not self._is_over:
            with contextlib.suppress(OSError):
                send_packet(self._socket, render_word("stop"), ())
            self._is_over = True
            self._close()

    def _on_time(self) -> None:
        self._timer = None
        self._fail(self._problems or [f"the new master was not ready within {_READY_S:.0f} s"])

    def _fail(self, problems: list[str]) -> None:
        # Its children hear of its end.
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pid_fd, signal.SIGKILL)
        self._is_over = True
        self._close()
        self._on_failed(problems)

    def _close(self) -> None:
        self._drop_timer()
        os.close(self._pid_fd)
        self._reactor.remove(self._socket.fileno())
        self._socket.close()

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None


def _problems(facts: Facts) -> list[str]:
    with contextlib.suppress(PeerViolation):
        return text_list(facts, "problems")
    return ["the new master refused"]


def _start(sock: socket.socket) -> int:
    """Run the command of this process again, from what is installed now, and return its pid. Raises OSError.

    It becomes a child of process 1, not of this one: a main process that is not its own child is killed by
    systemd as soon as it was told to end.
    """
    read_fd, write_fd = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            os.write(write_fd, b"%d" % _spawn(sock))
        except OSError as error:
            os.write(write_fd, b"-%d" % (error.errno or 0))
        finally:
            os._exit(0)
    os.close(write_fd)
    with open(read_fd, "rb") as pipe:
        said = int(pipe.read() or b"0")
    os.waitpid(between, 0)
    if said <= 0:
        raise OSError(-said, os.strerror(-said))
    return said


def _spawn(sock: socket.socket) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_HEIRS}
    environment[VARIABLE] = str(_CHILD_FD)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *sys.orig_argv[1:]],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, sock.fileno(), _CHILD_FD)],
        setsigmask=(),
    )
