"""Mixed traffic for a long time, in both process modes at once."""

from __future__ import annotations

import contextlib
import time

from tests.harness.dovecot import DovecotBackend
from tests.harness.ports import free_port
from tests.process.conftest import MODES
from tests.stress import load
from tests.stress.apart import Apart
from tests.stress.figures import slope
from tests.stress.scale import Scale
from tests.stress.soak import Soaked, soak
from tests.stress.stage import Stage
from tests.stress.traffic import Person
from tests.stress.witness import until

READER, READER_PASSWORD = "reader", "Reader-Secret-55"
SAMPLES = 60
# A slope says something when it was watched for long enough.
SLOPE_AFTER_S = 600.0
SLOPE_KIB_AN_HOUR = 1024.0


class Memory:
    """Of the processes that live as long as the proxy, in KiB by hour of the run."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        roles = ("auth", "imap-login", "pop3-login") if stage.mode == "shared" else ("auth",)
        self._processes = {
            f"{role} {process.pid}": process for role in roles for process in stage.arena.proxy.children(role)
        }
        (master,) = [p for p in stage.arena.proxy.processes() if p.pid == stage.arena.proxy.pid]
        self._processes["master"] = master
        self.points: dict[str, list[tuple[float, float]]] = {name: [] for name in self._processes}

    def look(self, hour: float) -> None:
        for name, process in self._processes.items():
            self.points[name].append((hour, process.memory_info().rss / 1024))

    def steepest(self) -> tuple[float, str]:
        """Return the highest slope of all, in KiB an hour, and whose it is; the first third warms up."""
        return max(
            (slope(points[len(points) // 3 :]), name.split()[0]) for name, points in self.points.items()
        )


def people(stage: Stage, dovecot: DovecotBackend) -> list[Person]:
    """Enter the users of the traffic, most of whom have an echo as backend."""
    stage.arena.add(READER, READER_PASSWORD, dovecot.imap_port, dovecot.pop3_port, host=dovecot.host)
    stage.arena.add("stranded", "Stranded-Secret-66", free_port(), free_port())
    stage.arena.proxy.secrets.update((READER_PASSWORD, "Stranded-Secret-66"))
    subjects = tuple(dovecot.subject(READER, number).encode() for number in (1, 2, 3))
    echo = Person(load.USER, load.PASSWORD)
    reader = Person(READER.encode(), READER_PASSWORD.encode(), subjects)
    stranded = Person(b"stranded", b"Stranded-Secret-66", is_reachable=False)
    return [echo] * 6 + [reader] * 2 + [stranded]


def note(stage: Stage, soaked: Soaked, memory: Memory, took_s: float) -> None:
    figures = stage.figures
    figures.none("unexpected replies", soaked.unexpected, of=soaked.steps)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in soaked.kinds.most_common())
    figures.note("conversations", f"{sum(soaked.kinds.values()):,} in {took_s / 60:.1f} min: {kinds}")
    figures.note("longest conversation", f"{soaked.slowest_s:.2f} s")
    if took_s >= SLOPE_AFTER_S:
        steepest, whose = memory.steepest()
        figures.note(
            f"memory slope of each process < {SLOPE_KIB_AN_HOUR:g} KiB an hour",
            f"{steepest:.0f} ({whose})",
            steepest < SLOPE_KIB_AN_HOUR,
        )


def test_soak(scale: Scale) -> None:
    """C14: no reply is unexpected; neither memory nor descriptors grow."""
    with contextlib.ExitStack() as stack:
        dovecot = stack.enter_context(DovecotBackend("soak", {READER: READER_PASSWORD}))
        stages = [stack.enter_context(Stage("mixed traffic", mode, scale)) for mode in MODES]
        runs: list[Apart[Soaked]] = []
        for seed, stage in enumerate(stages, 1):
            ports = stage.arena.proxy.imap_port, stage.arena.proxy.pop3_port
            run = Apart(soak, *ports, people(stage, dovecot), seed, scale.logins_a_second)
            runs.append(stack.enter_context(run))
        memories = [Memory(stage) for stage in stages]
        for run in runs:
            run.wait_ready()
        start_s = time.monotonic()
        for sample in range(SAMPLES):
            until(start_s + scale.soak_s * (sample + 1) / SAMPLES)
            for memory in memories:
                memory.look((time.monotonic() - start_s) / 3600)
        took_s = time.monotonic() - start_s
        results = [run.finish(120) for run in runs]
        for stage, result, memory in zip(stages, results, memories, strict=True):
            note(stage, result, memory, took_s)
        for stage in stages:
            stage.close_books()
