"""The system refuses what the service asks for: processes, space on the disk, connections that stay."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.folder import open_folder
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, echoes, guest, pids, try_login, wait_service

CONNECTS = 300
# Root is not held by RLIMIT_NPROC, so fork is refused here while a file lies beside the configuration.
REFUSING = """\
import errno, os, sys
from mailproxy import cli
fork = os.fork
def refuse():
    if os.path.exists(sys.argv[-1] + ".full"):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return fork()
os.fork = refuse
sys.exit(cli.main())
"""


@pytest.mark.parametrize("mode", list(MODES))
def test_no_more_processes(new_whole_arena: NewArena, mode: str) -> None:
    """F14: who is there serves on; it is tried again, with one line each time, until it works."""
    arena = new_whole_arena(MODES[mode], "login_processes_count = 3")
    arena.proxy.stop()
    arena.proxy.program = ["-c", REFUSING]
    arena.proxy.start()
    wait_until("three wait for clients", lambda: len(pids(arena, "imap-login")) >= 3)
    session = guest(arena)
    is_full = Path(f"{arena.proxy.configuration}.full")
    is_full.touch()
    arena.proxy.kill("auth")
    os.kill(max(pids(arena, "imap-login") - set(carriers(arena, [session]))), signal.SIGKILL)
    arena.proxy.wait_log("Error: fork() for imap-login failed: Resource temporarily unavailable")
    arena.proxy.wait_log("Error: fork() for auth failed: Resource temporarily unavailable")
    assert echoes(session)
    is_full.unlink()
    wait_service(arena, 20)
    arena.proxy.wait_log("Created login processes successfully, unstalling", timeout_s=20)
    assert arena.proxy.log_text().count("fork() for") < 20
    assert echoes(session)
    session.close()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one MiB."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    with open_folder("disk") as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "none", str(folder)]
        if (done := subprocess.run(command, capture_output=True, text=True)).returncode != 0:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("mode", "logins"), [("shared", 200), ("own", 40)])
def test_a_full_disk(new_arena: NewArena, small_disk: Path, mode: str, logins: int) -> None:
    """X11: relays and logins go on, and one line tells of those that were lost, when space returns."""
    arena = new_arena(MODES[mode])
    arena.proxy.stop()
    text = arena.proxy.configuration.read_text()
    log = small_disk / "log"
    arena.proxy.configuration.write_text(text.replace(str(arena.proxy.log), str(log)))
    arena.proxy.start()
    session = guest(arena)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    size_before = log.stat().st_size
    for _ in range(logins):
        assert try_login(arena).startswith(b"a1 OK ")
    assert echoes(session)
    assert log.stat().st_size - size_before < 8192

    def told() -> int:
        return log.read_bytes().count(b"log lines were lost")

    # Where the last bytes of the disk had room for that line, but not for another, it has come already.
    before = told()
    filler.unlink()

    def lost_is_told() -> bool:
        assert try_login(arena).startswith(b"a1 OK ")
        return told() > before

    wait_until("what was lost is told", lost_is_told)
    assert told() == before + 1
    session.close()
    arena.proxy.stop()


def test_clients_who_are_gone_before_they_are_taken(new_whole_arena: NewArena) -> None:
    """X14: connect and RST, two thousand times."""
    arena = new_whole_arena("login_processes_count = 2")
    workers = arena.proxy.children("imap-login")
    before = [worker.num_fds() for worker in workers]
    with guest(arena) as session:
        for _ in range(2000):
            RawClient(arena.proxy.imap_port, greet=False).reset()
        assert try_login(arena).startswith(b"a1 OK ")
        assert echoes(session)
    wait_until("nothing is left of them", lambda: [worker.num_fds() for worker in workers] <= before)
    assert pids(arena, "imap-login") == {worker.pid for worker in workers}


def test_none_of_them_costs_a_process(new_whole_arena: NewArena) -> None:
    """X14: where each client has one, so many would have the others wait for forks; each is logged."""
    arena = new_whole_arena(
        *(MODES["own"], "login_processes_count = 2"),
        "login_log_format_elements = worker=%p",
    )
    with guest(arena) as session, RawClient(arena.proxy.imap_port, greet=False) as listener:
        listener.half_close()
        assert listener.rest().startswith(b"* OK ")
        before = arena.proxy.log_text().count("Disconnected: worker=")
        for number in range(CONNECTS):
            client = RawClient(arena.proxy.imap_port, greet=False)
            client.reset() if number % 2 else client.close()
        assert try_login(arena).startswith(b"a1 OK ")
        assert echoes(session)
        arena.proxy.wait_log("Disconnected: worker=", before + CONNECTS)
    # Some are taken before they have left.
    assert len(set(re.findall("Disconnected: worker=([0-9]+)", arena.proxy.log_text()))) < CONNECTS // 4
