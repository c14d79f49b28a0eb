"""The proxies that are measured: processes, their CPU time and their memory."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

HOST = "127.0.0.1"
_START_S = 30.0
_STOP_S = 20.0


class Tree:
    """A process and all that descend from it; owns none of them."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)

    def processes(self) -> list[psutil.Process]:
        """Everyone alive."""
        return [self.root, *self.root.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU time so far of the living, to the nanosecond, and of the dead that were waited for."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                total += process_cpu_s(process.pid)
                times = process.cpu_times()
                total += times.children_user + times.children_system
        return total

    def times_s(self) -> tuple[float, float]:
        """User and system time of the same; in ticks of 10 ms, split by what each tick saw."""
        found = [process.cpu_times() for process in self.processes()]
        return (
            sum(times.user + times.children_user for times in found),
            sum(times.system + times.children_system for times in found),
        )

    def pss_kib(self) -> float:
        """Memory of all, what they share counted once."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 1024


def process_cpu_s(pid: int) -> float:
    """Return the CPU time of a process and all its threads, by its clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


class Target:
    """Somewhere to log in. Without a tree only rates and latencies are known."""

    def __init__(self, name: str, imap_port: int, pop3_port: int = 0, host: str = HOST) -> None:
        self.name = name
        self.host = host
        self.imap_port = imap_port
        self.pop3_port = pop3_port
        self.tree: Tree | None = None
        self.most_sessions = 10**9
        """No more can be open at once."""

    def close(self) -> None:
        """Stop what we have started."""


class Started(Target):
    """A proxy of our own, in a folder of its own; `close` stops it."""

    def __init__(self, name: str, command: list[str], folder: Path, imap_port: int, pop3_port: int) -> None:
        super().__init__(name, imap_port, pop3_port)
        self.folder = folder
        with (folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.tree = Tree(self._process.pid)
        try:
            self.wait_greeting()
        except BaseException:
            self.close()
            raise

    def wait_greeting(self) -> None:
        """Wait until it greets on both ports."""
        deadline = time.monotonic() + _START_S
        for port in (self.imap_port, self.pop3_port):
            while not _greets(port):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    said = (self.folder / "output").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name} does not greet on port {port}:\n{said}")
                time.sleep(0.02)

    def close(self) -> None:
        """Stop it and everything that it has started."""
        those = self.tree.processes() if self.tree and self._process.poll() is None else []
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        for process in those:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), 1.0) as client:
            client.settimeout(2.0)
            return bool(client.recv(100))
    except OSError:
        return False


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Return ports that nobody has now; they are held until the block ends."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((HOST, 0))
        yield [sock.getsockname()[1] for sock in sockets]


def unprivileged() -> tuple[str, str]:
    """Return the users for workers and for auth: two when we are root, else ourselves."""
    if os.geteuid():
        name = psutil.Process().username()
        return name, name
    return "nobody", "daemon"
