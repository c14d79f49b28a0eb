"""A machine within this one: a real systemd as process 1 of namespaces, on a copy of the file system that
forgets.

Nothing that happens in it reaches the machine that it runs on: files go to an overlay in memory, and every
mount is its own. What could harm through the kernel (its clock, modules, settings) it may not touch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil

from tests.harness.folder import open_folder
from tests.harness.network import network_of
from tests.harness.proxy import CHECKOUT
from tests.harness.wait import wait_until

SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
BOOT_S = 30.0

BUILD = Path(__file__).with_name("machine.sh")


def why_impossible() -> str:
    """Say why no such machine can be had here; empty if it seems to be possible."""
    if os.geteuid() != 0:
        return "only root makes namespaces with a systemd in them"
    for program in (str(SYSTEMD), "unshare", "nsenter", "setpriv", "pivot_root", "systemctl"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlayfs"
    try:
        is_ours = os.access(_own_group(), os.W_OK)
    except NotPossible as error:
        return str(error)
    if not is_ours:
        return "no group can be made in the cgroup2 that we are in"
    return ""


class NotPossible(Exception):
    """The kernel or the container refused; the text says what."""


class Machine:
    """Runs from the beginning to `close`, which ends every process in it. Raises `NotPossible`."""

    def __init__(self) -> None:
        self._close = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.push(self._close)
            folder = self._close.enter_context(open_folder("machine"))
            self._group = _own_group() / folder.name
            self._group.mkdir()
            self._close.callback(self._remove_group)
            self.pid = self._build(folder)
            self.root = Path(f"/proc/{self.pid}/root")
            """Its file system."""
            wait_until("systemd has booted", self._has_booted, BOOT_S)
            undo.pop_all()

    def _build(self, folder: Path) -> int:
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        marks = f".{folder.name}"
        process = subprocess.Popen(
            [
                *("sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', self._group),
                *("setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES),
                *("--propagation", "private", "--fork", "--kill-child"),
                *("sh", BUILD, folder, sys.base_prefix, CHECKOUT, packages, marks),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._close.enter_context(process)  # closes the pipes
        self._close.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != b"built\n":
            raise NotPossible(process.stderr.read().decode())
        (first,) = psutil.Process(process.pid).children()
        for place in ("/", "/tmp", "/run", "/dev", "/opt"):
            assert not [name for name in os.listdir(place) if name.endswith(marks)], (
                f"it writes to our {place}"
            )
        process.stdin.write(b"boot\n")
        process.stdin.flush()
        return first.pid

    def run(self, *words: str, status: int = 0) -> str:
        """Run a command in it as root types it; returns what it printed, on both outputs."""
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", *NAMESPACES, *words],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"{words} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    def properties(self, unit: str, *names: str) -> list[str]:
        """Return what systemd knows of a unit."""
        said = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names))
        found = dict(line.split("=", 1) for line in said.splitlines())
        return [found[name] for name in names]

    def network(self) -> contextlib.AbstractContextManager[None]:
        """Sockets that this thread makes meanwhile are in it, and stay there."""
        return network_of(self.pid)

    def processes(self, unit: str) -> list[psutil.Process]:
        """Return what lives of a unit, as it is seen from outside."""
        found = []
        with contextlib.suppress(OSError):
            for pid in (self._group / "system.slice" / unit / "cgroup.procs").read_text().split():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(int(pid)))
        return found

    def zombies(self) -> list[psutil.Process]:
        """Return those whose end nobody has taken note of."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += [process] if process.status() == psutil.STATUS_ZOMBIE else []
        return found

    def close(self) -> None:
        """End it as if it lost its power."""
        self._close.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _has_booted(self) -> bool:
        assert psutil.pid_exists(self.pid), "systemd ended"
        return (self.root / "run/systemd/private").is_socket()

    def _remove_group(self) -> None:
        """Remove our cgroup when the last process has left it."""
        wait_until("nobody is left in its cgroup", lambda: not _is_populated(self._group))
        inner = sorted((path for path in self._group.rglob("*") if path.is_dir()), reverse=True)
        for path in (*inner, self._group):
            path.rmdir()


def _is_populated(group: Path) -> bool:
    return "populated 1" in (group / "cgroup.events").read_text()


def _own_group() -> Path:
    """Return the cgroup2 that we are in, as it is mounted here. Raises `NotPossible`."""
    own = [
        line.partition("::")[2]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if line[:3] == "0::"
    ]
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, kind = line.split(" - ")
        if own and kind.startswith("cgroup2 "):
            return Path(place.split()[4] + own[0])
    raise NotPossible("no cgroup2 is mounted")
