"""Thousands of clients that never finish their login, each from its own address, and good ones among them."""

from __future__ import annotations

import contextlib

import pytest

from tests.stress import load
from tests.stress.apart import Apart
from tests.stress.figures import percentile, slope
from tests.stress.scale import LONG, Scale
from tests.stress.stage import WORKERS, Stage, now_s
from tests.stress.witness import private_kib, until

STEPS = 5
BYTE_EVERY_S = 5.0
# In the mode of one process per connection there is no room for all at a time: the flood lasts until each has
# been there.
FLOOD_S = 300.0
LOOPS = 4
PAUSE_S = 0.1
# In that mode; more push each other out.
MOST_PROCESSES = 200
WAITING = 10000
PLAIN_KIB = 32.0


def test_flood(mode: str, scale: Scale) -> None:
    """X01, X02, C6."""
    count = scale.slow_clients if mode == "shared" else scale.slow_clients_own
    back_s = count / scale.slow_a_second
    settings = [f"login_max_connections = {2 * count // WORKERS + 100}"]
    if mode == "own":
        settings.append(f"login_max_processes_count = {min(MOST_PROCESSES, count // 3)}")
    with Stage("flood of slow clients", mode, scale, *settings) as stage, contextlib.ExitStack() as stack:
        figures = stage.figures
        crowds = []
        for step in range(STEPS):
            share = count // STEPS
            spread_s = back_s if mode == "own" else 0.0
            crowd = Apart(load.be_slow, stage.port, share, step * share, BYTE_EVERY_S, back_s, spread_s)
            crowds.append(stack.enter_context(crowd))
            if mode == "shared":
                crowd.wait_ready()
        with stage.logins(LOOPS, PAUSE_S) as logins:
            logins.wait_ready()
            end_s = now_s() + scale.flood_s
            if mode == "own":
                for crowd in crowds:
                    crowd.wait_ready(FLOOD_S)
            until(end_s)
            attempts = logins.finish()
        if mode == "own":
            waiting = stage.arena.proxy.children("imap-login")
            each = private_kib(waiting) / len(waiting)
            figures.note("processes", f"{len(waiting)}, {each:.0f} KiB private to each")
        slow = [crowd.finish() for crowd in crowds]
        greeted = sum(one.greeted for one in slow)
        dropped = [words for one in slow for words in one.dropped]
        figures.note("slow clients", f"{count}, greeted {greeted:,} times, {len(dropped):,} sent away")
        figures.none(
            "sent away without a word", [words for words in dropped if not words.startswith(b"* BYE ")]
        )
        if mode == "shared":
            figures.none("sent away with room for all", dropped)
        odd = [login.outcome for login in attempts if login.outcome != load.OK]
        figures.none("good logins refused, reset or failed", odd, of=len(attempts))
        times_s = [login.ended_s - login.began_s for login in attempts]
        figures.below("good logins, p99", 1.0 * scale.patience, percentile(times_s, 0.99))
        stack.close()
        stage.close_books()


@pytest.mark.stress
def test_memory_of_those_who_wait() -> None:
    """X06, C6: by the slope in one worker, above what is free in it from the start, some 3 MiB."""
    settings = ("login_processes_count = 1", f"login_max_connections = {WAITING + 100}")
    with Stage("crowd in one worker", "shared", LONG, *settings) as stage, contextlib.ExitStack() as stack:
        memory: list[tuple[float, float]] = []
        share = WAITING // STEPS
        for step in range(STEPS):
            crowd = Apart(load.be_slow, stage.port, share, step * share, BYTE_EVERY_S, PAUSE_S)
            stack.enter_context(crowd).wait_ready()
            memory.append(((step + 1) * share, private_kib(stage.arena.proxy.children("imap-login"))))
        each = slope(memory[1:])
        # One for whom nothing grows was not measured.
        stage.figures.note(
            f"memory of each of {WAITING} who wait < {PLAIN_KIB:g} KiB",
            f"{each:.1f} KiB",
            0.5 < each < PLAIN_KIB,
        )
        stage.figures.verify()
