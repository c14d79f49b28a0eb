"""What real servers beside Dovecot have in common: a folder, an address, a start and an end."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Self

import psutil

from tests.harness.folder import open_folder
from tests.harness.ports import free_address
from tests.harness.wait import wait_until


class RealServer:
    """Within `with` it runs on the usual ports of `host`, a loopback address of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = free_address(143, 110, 993, 995)
        self._close = contextlib.ExitStack()
        self.folder = self._close.enter_context(open_folder(name))
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Configure and start it, and wait until it serves."""
        raise NotImplementedError

    def subject(self, user: str, number: int) -> str:
        """Return the subject of a seeded message; it tells where it lives."""
        return f"message {number} of {user} on {self.name}"

    def spawn(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start one of its programs, which dies with the tests in any case."""
        with (self.folder / "output").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environment),
                    cwd=self.folder,
                    start_new_session=True,
                )
            )

    def wait_greeting(self, port: int, expected: bytes) -> None:
        """Wait until a client is greeted."""
        wait_until(f"{self.name} greets on port {port}", lambda: self._greets(port, expected), 20)

    def _greets(self, port: int, expected: bytes) -> bool:
        if any(process.poll() is not None for process in self._processes):
            raise AssertionError(f"{self.name} ended at start\n{self.said()}")
        try:
            with socket.create_connection((self.host, port), 2) as client:
                return client.recv(100).startswith(expected)
        except OSError:
            return False

    def said(self) -> str:
        """Return the end of what it printed."""
        output = self.folder / "output"
        return output.read_text(errors="replace")[-3000:] if output.exists() else ""

    def stop(self) -> None:
        """End all its processes, those too that have left their parents."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(10)
        self._processes.clear()
        for orphan in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if orphan.exe().startswith(f"{self.folder}/"):
                    orphan.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        with self._close:
            self.stop()
