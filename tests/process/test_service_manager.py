"""What a service manager hears of a running master, and whether it would take our units."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.arena import Arena
from tests.harness.folder import open_folder
from tests.harness.proxy import CHECKOUT
from tests.process.look import guest, run_ctl, try_login

UNITS = CHECKOUT / "etc" / "systemd"


class Manager:
    """Listens as systemd does."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.heard: queue.Queue[dict[str, str]] = queue.Queue()
        self.socket.settimeout(0.1)
        self._is_over = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with self.socket:
            while not self._is_over:
                with contextlib.suppress(TimeoutError):
                    lines = self.socket.recv(4096).decode().split("\n")
                    self.heard.put(dict(line.split("=", 1) for line in lines))

    def close(self) -> None:
        self._is_over = True
        self._thread.join()

    def hear(self) -> dict[str, str]:
        """The next datagram that is more than a sign of life or a status."""
        while True:
            heard = self.heard.get(timeout=20)
            if heard.keys() - {"WATCHDOG", "STATUS"}:
                return heard

    def hear_key(self, key: str, timeout_s: float = 20) -> str:
        """The value of the next line with this key; empty when nothing at all comes for so long."""
        with contextlib.suppress(queue.Empty):
            while True:
                heard = self.heard.get(timeout=timeout_s)
                if key in heard:
                    return heard[key]
        return ""


@pytest.fixture
def manager() -> Iterator[Manager]:
    with open_folder("notify") as folder:
        manager = Manager(folder)
        yield manager
        manager.close()


@pytest.fixture
def arena(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    """A proxy that is watched by the manager."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(manager.path))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    with Arena("auth_debug = no") as arena:
        yield arena


def test_the_life_of_a_service(arena: Arena, manager: Manager) -> None:
    """Start, reload, a reload that fails, stop: each is told once, in order."""
    ready = {"READY": "1", "MAINPID": str(arena.proxy.pid), "STATUS": "0 sessions, 0 logins in progress"}
    heard = manager.hear()
    assert heard == ready
    run_ctl(arena, "reload")
    begun = manager.hear()
    assert begun.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert 0 < int(begun["MONOTONIC_USEC"]) < 2**63
    assert manager.hear().keys() == ready.keys()
    good = arena.proxy.configuration.read_text()
    arena.proxy.configuration.write_text("no_such_setting = 1\n" + good)
    run_ctl(arena, "reload", status=1)
    assert manager.hear().keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert manager.hear().keys() == ready.keys()
    arena.proxy.configuration.write_text(good)
    assert arena.proxy.stop() == 0
    stopping = {"STOPPING": "1", "STATUS": "ending", "EXTEND_TIMEOUT_USEC": "30000000"}
    assert manager.hear() == stopping


def test_ready_means_that_clients_are_served(arena: Arena, manager: Manager) -> None:
    arena.proxy.stop()
    while not manager.hear().keys() >= {"STOPPING", "STATUS"}:
        pass
    arena.proxy.start(wait=False)
    # Before it comes what a slow end may still say.
    assert manager.hear_key("READY") == "1"
    assert try_login(arena).startswith(b"a1 OK ")


def test_the_status_and_the_watchdog(arena: Arena, manager: Manager) -> None:
    """Twice in the watchdog's time, and not from a loop that hangs."""
    assert manager.hear_key("WATCHDOG") == "1"
    session = guest(arena)
    while manager.hear_key("STATUS") != "1 session, 0 logins in progress":
        run_ctl(arena, "status")
    os.kill(arena.proxy.pid, signal.SIGSTOP)
    while manager.hear_key("WATCHDOG", 1.0):
        pass
    os.kill(arena.proxy.pid, signal.SIGCONT)
    assert manager.hear_key("WATCHDOG") == "1"
    session.close()


def test_a_manager_that_is_gone_is_no_reason_to_end(arena: Arena, manager: Manager) -> None:
    manager.path.unlink()
    run_ctl(arena, "reload")
    assert try_login(arena).startswith(b"a1 OK ")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        # The commands are not where an installation puts them.
        text = re.sub(r"/usr/local/sbin/\w+", sys.executable, unit.read_text())
        (tmp_path / unit.name).write_text(text)
    for unit in sorted(tmp_path.iterdir()):
        verified = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
            env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
