"""Counting the system calls of running processes with strace."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.harness.wait import wait_until

ATTACH_S = 20.0
# They follow what the allocator happens to have at hand, and a timer that runs out in between is nobody's.
_UNCOUNTED = frozenset(
    ("brk", "mmap", "munmap", "mremap", "madvise", "mprotect", "futex", "restart_syscall", "rt_sigreturn")
)


class Counts(dict[str, int]):
    """Calls by name; complete when `counting` has ended."""


def _is_traced(pid: int) -> bool:
    """Whether all threads of the process have a tracer."""
    states = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return bool(states) and all("TracerPid:\t0\n" not in state for state in states)


@contextlib.contextmanager
def counting(pids: Sequence[int]) -> Iterator[Counts]:
    """Count what these processes and their children call within the block; skips where that is forbidden."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="mp-strace-") as folder:
        output = Path(folder, "counts")
        command = ["strace", "-c", "-f", "-qq", "-o", str(output)]
        for pid in pids:
            command += ["-p", str(pid)]
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(
                "strace is attached or gives up",
                lambda: tracer.poll() is not None or all(_is_traced(pid) for pid in pids),
                ATTACH_S,
            )
            if tracer.poll() is not None:
                assert tracer.stderr is not None
                pytest.skip(f"strace cannot attach here: {tracer.stderr.read().strip()}")
            yield counts
            tracer.send_signal(signal.SIGINT)
            tracer.wait(ATTACH_S)
            counts.update(parse(output.read_text()))
        finally:
            tracer.kill()
            tracer.communicate()


def parse(table: str) -> dict[str, int]:
    """Read the table of `strace -c`: share, seconds, microseconds a call, calls, maybe errors, name."""
    found: dict[str, int] = {}
    for line in table.splitlines():
        words = line.split()
        if len(words) in (5, 6) and words[3].isdigit() and words[-1] not in (*_UNCOUNTED, "total"):
            found[words[-1]] = found.get(words[-1], 0) + int(words[3])
    return found
