"""What work costs in Python at least: `python -m bench.floor` sets a bare prototype beside mailproxy.

Dovecot is measured too, where there is one. Each has one login worker, or one for each client. As root, and
with what `make test` installs, it takes about four minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import proxies, scenes
from bench.__main__ import ROOT, USERS, machine
from bench.crowd import Client, Crowd
from bench.report import as_text, figure
from bench.scenes import Sample
from bench.sink import Sink
from bench.target import Started, Target, free_ports

HEADER = ("work", "proxy", "µs CPU", "user µs", "system µs", "of Dovecot's", "system calls")
_PROTOTYPE, _MAILPROXY, _DOVECOT = "prototype", "mailproxy", "Dovecot"
_COUNTED_S = 0.5
_SPARE = 32
"""Processes that wait for clients, where each client has one."""


class Cost(NamedTuple):
    """What a unit of work costs one proxy: CPU seconds, and system calls if they could be counted."""

    total_s: float
    user_s: float
    calls: float | None

    @classmethod
    def of(cls, totals_s: Sequence[float], user: float, system: float, calls: float | None) -> Cost:
        """Take the median of the totals, and split it as the kernel's coarse clock has split all of them."""
        total_s = statistics.median(totals_s)
        return cls(total_s, total_s * user / (user + system), calls)

    def less(self, other: Cost) -> Cost:
        """Return what this one costs more."""
        calls = None if self.calls is None or other.calls is None else self.calls - other.calls
        return Cost(self.total_s - other.total_s, self.user_s - other.user_s, calls)


class Work(NamedTuple):
    """What is measured, and with how many processes."""

    name: str
    has_process_each: bool
    sample: Callable[[Crowd, Target, float], Sample]


def _log_in(crowd: Crowd, target: Target, seconds: float) -> Sample:
    return scenes.logins(crowd, target, "imap", USERS, seconds)


def _ask(crowd: Crowd, target: Target, seconds: float) -> Sample:
    return scenes.round_trips(crowd, target, USERS, seconds)


WORKS = (
    Work("login", False, _log_in),
    Work("round trip", False, _ask),
    Work("login, a process each", True, _log_in),
)


def rows(work: str, costs: dict[str, Cost]) -> list[tuple[str, ...]]:
    """Return the cells of the table; the last row is what mailproxy has over the prototype."""
    dovecot = costs.get(_DOVECOT)
    shown = {**costs, "mailproxy less prototype": costs[_MAILPROXY].less(costs[_PROTOTYPE])}
    cells: list[tuple[str, ...]] = []
    for name, cost in shown.items():
        times = (cost.total_s, cost.user_s, cost.total_s - cost.user_s)
        ratio = "-" if dovecot is None else f"{cost.total_s / dovecot.total_s:.2f}"
        calls = "-" if cost.calls is None else figure(cost.calls)
        cells.append((work, name, *(figure(value * 1e6) for value in times), ratio, calls))
    return cells


def start_prototype(folder: Path, sink: Sink, users: int, *, has_process_each: bool = False) -> Started:
    """Start the prototype, which speaks IMAP alone; its log is `log` in the folder."""
    folder.mkdir(parents=True)
    with free_ports(1) as (port,):
        numbers = [str(number) for number in (port, sink.imap_port, users)]
    command = [sys.executable, "-m", "bench.prototype", *numbers, str(folder / "log")]
    return Started(_PROTOTYPE, command + ["each"] * has_process_each, folder, port, port)


def _targets(folder: Path, sink: Sink, stack: contextlib.ExitStack, is_each: bool) -> list[Started]:
    sql = proxies.fill_sqlite(folder / "users.sqlite", sink, USERS)
    workers = _SPARE if is_each else 1
    found = [start_prototype(folder / "prototype", sink, USERS, has_process_each=is_each)]
    stack.callback(found[-1].close)
    starts = {_MAILPROXY: proxies.start_mailproxy}
    if proxies.has_dovecot():
        starts[_DOVECOT] = proxies.start_dovecot  # type: ignore[assignment]
    for name, start in starts.items():
        found.append(start(name, folder / name, sql, per_connection=is_each, workers=workers))
        stack.callback(found[-1].close)
    return found


def _calls(crowd: Crowd, target: Target) -> float | None:
    """Count the system calls of a login, clients coming one at a time; None where we are not root."""
    if os.geteuid():
        return None
    from tests.harness.syscalls import counting

    assert target.tree is not None
    at = scenes.place(target, "imap", USERS)
    with counting([process.pid for process in target.tree.processes()]) as counts:
        logins = crowd.do(Client.logins, at, _COUNTED_S, 1).units
    return sum(counts.values()) / logins


def measure(folder: Path, work: Work, seconds: float, repeats: int) -> dict[str, Cost]:
    """Measure all in turns. Raises RuntimeError when a login has failed."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        sink = Sink(1)
        stack.callback(sink.close)
        targets = _targets(folder, sink, stack, work.has_process_each)
        crowd = Crowd(1)
        stack.callback(crowd.close)
        totals_s: dict[str, list[float]] = {target.name: [] for target in targets}
        for target in targets:
            _log_in(crowd, target, seconds)  # Until every user is in the cache.
        before = {target.name: target.tree.times_s() for target in targets if target.tree}
        for repeat in range(repeats):
            turn = repeat % len(targets)
            for target in targets[turn:] + targets[:turn]:
                sample = work.sample(crowd, target, seconds)
                if sample.failures or sample.cost is None:
                    raise RuntimeError(f"{target.name}: {sample.failures} failures of {work.name}")
                totals_s[target.name].append(sample.cost)
        found = {}
        for target in targets:
            assert target.tree is not None
            user, system = (
                now - then for now, then in zip(target.tree.times_s(), before[target.name], strict=True)
            )
            calls = _calls(crowd, target) if work == WORKS[0] else None
            found[target.name] = Cost.of(totals_s[target.name], user, system, calls)
        return found


def main() -> None:
    """Measure and print; the results go to `build/bench/floor.json`."""
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--repeats", type=int, default=7, help="medians are shown; proxies take turns")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "floor.json")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    where = f"Measured {machine()}; medians of {arguments.repeats} runs."
    with tempfile.TemporaryDirectory(prefix="mailproxy-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        cells = []
        for number, work in enumerate(WORKS):
            costs = measure(folder / str(number), work, arguments.seconds, arguments.repeats)
            cells += rows(work.name, costs)
    print(f"\n{where}\n\n{as_text(cells, HEADER)}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results = {"where": where, "cells": [HEADER, *cells]}
    arguments.out.write_text(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
