"""What systemd is told of us: datagrams of lines, as sd_notify(3) describes them.

Without `NOTIFY_SOCKET` in the environment there is no manager, and nothing is said.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from mailproxy.net.reactor import Reactor

# How often the status line is looked at when there is no watchdog that wants more.
_STATUS_S = 10.0
# A manager with a full queue is waited for, as what it misses here it would wait for in vain.
_PATIENCE_S = 1.0
# For all that it was given to store.
_STORE_PATIENCE_S = 5.0
# While sessions live on after a stop, so much more time is asked for at each beat.
_EXTENSION = "EXTEND_TIMEOUT_USEC=30000000"


class ServiceManager:
    """One for the life of the master. Never raises: a manager that is gone is no reason to end."""

    def __init__(self, environment: Mapping[str, str], describe: Callable[[], str]) -> None:
        """`describe` returns the status line."""
        address = environment.get("NOTIFY_SOCKET", "")
        # An abstract name is written with an at sign.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._describe = describe
        self._said = ""
        self._watchdog_s = _watchdog_s(environment)
        self.store_limit_fds = _store_limit_fds(environment) if self._address else 0
        """How many descriptors it would keep for us, 0 for none."""
        self._reactor: Reactor

    def start(self, reactor: Reactor) -> None:
        """Say that we live, and how we are, from now on."""
        self._reactor = reactor
        if self._address:
            self._beat()

    def ready(self) -> None:
        """We serve, in this process: after a start, an upgrade or a reload, whether it worked or not."""
        self._said = self._describe()
        self._send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={self._said}")

    def reloading(self) -> None:
        """A reload has begun."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def leave(self, successor_pid: int) -> None:
        """Another process is the service from now on; say nothing any more."""
        self._send(f"MAINPID={successor_pid}")
        self._address = ""

    def stopping(self) -> None:
        """We are about to end."""
        self._said = "ending"
        self._send("STOPPING=1", f"STATUS={self._said}", _EXTENSION)

    def store(self, name: str, fds: Sequence[int]) -> bool:
        """Have the manager keep copies of these, for the next one of us; False when it takes nothing.

        It keeps one of those that are the same file, and also sockets whose peers have gone.
        """
        lines = "FDSTORE=1", "FDPOLL=0", f"FDNAME={name}"
        return self._send(*lines, patience_s=_STORE_PATIENCE_S, fds=fds)

    def forget(self, name: str) -> None:
        """Have the manager close what it keeps by this name."""
        self._send("FDSTOREREMOVE=1", f"FDNAME={name}")

    def barrier(self) -> bool:
        """Wait until the manager has read all that we said; False when it has not within 5 s."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            was_sent = self._send("BARRIER=1", patience_s=_STORE_PATIENCE_S, fds=[theirs])
        finally:
            os.close(theirs)
        poll = select.poll()
        poll.register(ours, 0)
        try:
            return was_sent and bool(poll.poll(_STORE_PATIENCE_S * 1000))
        finally:
            os.close(ours)

    def _beat(self) -> None:
        self._reactor.call_later(self._watchdog_s / 2 if self._watchdog_s else _STATUS_S, self._beat)
        lines = ["WATCHDOG=1"] if self._watchdog_s else []
        if self._said not in ("", "ending"):
            status = self._describe()
            if status != self._said:
                self._said = status
                lines.append(f"STATUS={status}")
        if self._said == "ending":
            lines.append(_EXTENSION)
        if lines:
            self._send(*lines, patience_s=0)

    def _send(self, *lines: str, patience_s: float = _PATIENCE_S, fds: Sequence[int] = ()) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            if self._address:
                sock.settimeout(patience_s)
                sock.connect(self._address)
                sock.sendmsg(["\n".join(lines).encode()], rights)
                return True
        return False


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return after how long without a word we count as dead, 0 for never."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0


def _store_limit_fds(environment: Mapping[str, str]) -> int:
    """Return how many descriptors the manager keeps for a service; newer ones say so by themselves."""
    limit = environment.get("FDSTORE", "")
    return int(limit) if limit.isdecimal() else 0
