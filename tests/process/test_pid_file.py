"""A pid file that a dead master or somebody else has left: the lock counts, not what is written there."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.arena import Arena
from tests.process.look import try_login
from tests.process.test_end import run

# Every signal that can be held back is, so that each one that is sent stays to be seen.
DEAF = """\
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print("deaf", flush=True)
signal.pause()
"""


@pytest.fixture
def foreigner() -> Iterator[int]:
    """The pid of a program that is not ours; at the end it has to live, and to have been sent no signal."""
    with subprocess.Popen([sys.executable, "-I", "-c", DEAF], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"deaf\n"
            yield process.pid
            assert process.poll() is None
            assert pending(process.pid) == 0
        finally:
            process.kill()


def pending(pid: int) -> int:
    """Return the signals that a process has been sent and has not taken, as bits."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd:", "ShdPnd:")))


@pytest.fixture
def arena() -> Iterator[Arena]:
    """One that has yet to be started, with a base_dir."""
    with contextlib.closing(Arena("auth_debug = no")) as arena:
        arena.proxy.base_dir.mkdir(0o755)
        yield arena


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait(10)
    return process.pid


@pytest.mark.parametrize("kind", ["dead", "foreign", "empty", "garbage"])
def test_a_stale_pid_file_is_no_obstacle(arena: Arena, foreigner: int, kind: str) -> None:
    """F07: it starts, serves and ends, whatever the number says; who has the number hears nothing."""
    text = {"dead": f"{dead_pid()}\n", "foreign": f"{foreigner}\n", "empty": "", "garbage": "\0x -1 \xff\n"}
    proxy, path = arena.proxy, arena.proxy.base_dir / "master.pid"
    path.write_text(text[kind])
    proxy.start()
    assert path.read_text() == f"{proxy.pid}\n"
    assert try_login(arena).startswith(b"a1 OK ")
    assert proxy.stop() == 0
    assert not path.exists()


def link(path: Path, foreigner: int) -> Callable[[], bool]:
    victim = path.with_name("precious")
    victim.write_text(f"{foreigner}\n")
    path.symlink_to(victim)
    return lambda: path.readlink() == victim and victim.read_text() == f"{foreigner}\n"


def directory(path: Path, foreigner: int) -> Callable[[], bool]:
    path.mkdir()
    (path / f"{foreigner}").touch()
    return lambda: [inside.name for inside in path.iterdir()] == [f"{foreigner}"]


@pytest.mark.parametrize("plant", [link, directory])
def test_what_is_no_pid_file_is_refused(
    arena: Arena, foreigner: int, plant: Callable[[Path, int], Callable[[], bool]]
) -> None:
    """F07: with a clear line, and what was planted stays as it was."""
    path = arena.proxy.base_dir / "master.pid"
    is_untouched = plant(path, foreigner)
    done = run(arena.proxy, "-F")
    assert done.returncode == 89
    assert f"Error: Can't use pid file {path}: " in done.stderr
    assert "; remove it and start again" in done.stderr
    assert is_untouched()
    assert [one.name for one in arena.proxy.base_dir.rglob("default")] == []
