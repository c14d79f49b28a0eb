"""What systemd is told of us: datagrams of lines, as sd_notify(3) describes them.

Without `NOTIFY_SOCKET` in the environment there is no manager, and nothing is said.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

from mailproxy.net.reactor import Reactor

# How often the status line is looked at when there is no watchdog that wants more.
_STATUS_S = 10.0
# A manager with a full queue is waited for, as what it misses here it would wait for in vain.
_PATIENCE_S = 1.0


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
        self._send("STOPPING=1", f"STATUS={self._said}")

    def _beat(self) -> None:
        self._reactor.call_later(self._watchdog_s / 2 if self._watchdog_s else _STATUS_S, self._beat)
        lines = ["WATCHDOG=1"] if self._watchdog_s else []
        if self._said not in ("", "ending"):
            status = self._describe()
            if status != self._said:
                self._said = status
                lines.append(f"STATUS={status}")
        if lines:
            self._send(*lines, patience_s=0)

    def _send(self, *lines: str, patience_s: float = _PATIENCE_S) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(patience_s)
            sock.sendto("\n".join(lines).encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return after how long without a word we count as dead, 0 for never."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(environment.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return 0.0
