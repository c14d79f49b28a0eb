"""Told to end in the middle of a reload: the service again and again, and children just after their birth."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.harness.arena import Arena
from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.process.look import carriers, echoes, guest, pids, wait_service
from tests.process.test_reload import REFUSED, STARTED
from tests.stress.figures import Figures
from tests.stress.scale import LONG, Scale
from tests.stress.stage import WORKERS, Stage, now_s
from tests.stress.test_renewals import living

GAP_MS = 5.0
BIRTH_S = 20.0
SEED = 9


def pause(chance: random.Random) -> None:
    """Let up to 5 ms pass, which are what is tried; there is nothing to watch."""
    time.sleep(chance.uniform(0.0, GAP_MS) / 1000)


def title(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()[:1]
    return ["has just ended"]


def test_end_in_a_reload(mode: str, scale: Scale) -> None:
    """F09: SIGHUP, then SIGTERM, to the master or, as service managers do, to all; nothing is left."""
    figures, chance = Figures("end in a reload", mode), random.Random(SEED)
    statuses: list[int] = []
    left: list[str] = []
    longest_s = 0.0
    with Arena(f"auth_debug = no\n{MODES[mode]}\nlogin_processes_count = {WORKERS}") as arena:
        proxy = arena.proxy
        for number in range(scale.ends):
            proxy.sighup()
            pause(chance)
            start_s = now_s()
            # Once: a master that is told again kills who has not ended yet.
            statuses.append(proxy.stop(to_all=number % 2 == 0))
            longest_s = max(longest_s, now_s() - start_s)
            left += [f"process {process.pid} {title(process)}" for process in proxy.processes()]
            left += [path.name for path in proxy.base_dir.rglob("*") if path.name != "login"]
            proxy.start()
        lines = proxy.log_text().splitlines()
        begun = sum(STARTED in line for line in lines)
        figures.note("rounds; reloads that had begun", f"{len(statuses)}; {begun}", begun >= scale.ends // 20)
        figures.none("exit statuses but 0", [status for status in statuses if status])
        figures.none("processes and files left", left)
        figures.none("children killed or lost", [line for line in lines if "Error: child " in line])
        figures.note("longest end", f"{longest_s:.3f} s")
        figures.verify()


def newborn(pid: int, before: set[int]) -> int:
    """Wait, without a pause, for a child of that process which was not there before; returns its pid."""
    deadline_s = now_s() + BIRTH_S
    # As the kernel says in microseconds; while children end some may be missing.
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while now_s() < deadline_s:
        if born := {int(word) for word in children.read_text().split()} - before:
            return born.pop()
    raise AssertionError(f"nobody was born within {BIRTH_S:g} s")


def end_newborn(arena: Arena, chance: random.Random, have_born: Callable[[], None]) -> None:
    """End whoever is born next, at once or a little later."""
    before = living(arena)
    have_born()
    born = newborn(arena.proxy.pid, before)
    if chance.random() < 0.5:
        pause(chance)
    with contextlib.suppress(ProcessLookupError):  # A client may have come to it and left.
        os.kill(born, signal.SIGTERM)
    wait_until("it has ended", lambda: born not in living(arena))


def wait_whole(arena: Arena) -> None:
    """Wait until every process that is to be there is, and a fresh login works."""
    for role, count in (("auth", 1), ("imap-login", WORKERS), ("pop3-login", WORKERS)):
        wait_until(f"{role} is there", lambda role=role, count=count: len(pids(arena, role)) >= count)  # type: ignore[misc]
    wait_service(arena)


def end_one_of_a_reload(arena: Arena, chance: random.Random, old: set[int]) -> None:
    """End the first child of a reload, and wait until it is given up, or `old` ones have left for it."""
    proxy = arena.proxy
    given_up = proxy.log_text().count(REFUSED)
    end_newborn(arena, chance, proxy.sighup)
    wait_until(
        "the reload is over",
        lambda: proxy.log_text().count(REFUSED) > given_up or not old & living(arena),
    )


def end_one_after_kills(arena: Arena, chance: random.Random, victims: set[int]) -> None:
    """Kill workers, and end the first that is forked in their place."""

    def kill() -> None:
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):  # Its only client has just left.
                os.kill(pid, signal.SIGKILL)

    end_newborn(arena, chance, kill)


@pytest.mark.stress
@pytest.mark.parametrize("scale", [LONG], ids=["long"])
def test_end_at_birth(mode: str, scale: Scale) -> None:
    """F09: a worker or auth that gets SIGTERM before it has its handlers ends, and it alone."""
    chance = random.Random(SEED)
    gone: set[int] = set()
    echoed = 0
    with Stage("end at birth", mode, scale) as stage:
        arena = stage.arena
        session = guest(arena)
        (carrier,) = carriers(arena, [session])
        for number in range(scale.ends):
            wait_whole(arena)
            siblings = {arena.proxy.pid, carrier} | pids(arena, "auth") | pids(arena, "pop3-login")
            if number % 2:
                end_one_after_kills(arena, chance, pids(arena, "imap-login") - {carrier})
                gone |= siblings - living(arena)
            else:
                end_one_of_a_reload(arena, chance, siblings - {arena.proxy.pid, carrier})
            echoed += echoes(session)
        wait_whole(arena)
        stage.figures.note("rounds, each with a child told to end at its birth", scale.ends)
        stage.figures.none("siblings that ended with them", sorted(gone))
        stage.figures.note("the session echoes each time", f"{echoed} times", echoed == scale.ends)
        session.close()
        stage.close_books()
