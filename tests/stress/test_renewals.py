"""New generations and new masters take over while sessions idle, stream and come."""

from __future__ import annotations

from collections.abc import Callable

from tests.harness.arena import Arena
from tests.harness.wait import wait_until
from tests.process.look import pids
from tests.stress import load
from tests.stress.figures import percentile
from tests.stress.scale import Scale
from tests.stress.stage import Stage, now_s
from tests.stress.witness import until

LOOPS = 4
PAUSE_S = 0.02
PATIENCE_S = 60.0
DRAIN_S = 10.0


def reload(arena: Arena) -> None:
    """Have another generation take over, and wait until it has."""
    before = pids(arena, "auth")
    arena.proxy.sighup()
    wait_until("auth is new", lambda: pids(arena, "auth") - before, PATIENCE_S)
    wait_until("the old auth has left", lambda: not pids(arena, "auth") & before, PATIENCE_S)


def upgrade(arena: Arena) -> None:
    """Have another master take over, and wait until the old one has left."""
    old = arena.proxy.replace_master()
    wait_until("the old master has left", lambda: old not in living(arena), PATIENCE_S)


def living(arena: Arena) -> set[int]:
    return {process.pid for process in arena.proxy.processes()}


def go_through(stage: Stage, renew: Callable[[Arena], None]) -> None:
    """Renew again and again under load, and look at everything afterwards."""
    arena, scale = stage.arena, stage.scale
    renew(arena)
    stage.warm_up()
    times_s: list[float] = []
    oldest = living(arena) - {arena.proxy.pid}
    with (
        stage.sessions(scale.idle_sessions, 3600.0) as idle,
        stage.streams(scale.busy_sessions) as busy,
        stage.logins(LOOPS, PAUSE_S, scale.connects) as logins,
    ):
        for crowd in (idle, busy, logins):
            crowd.wait_ready()
        for _ in range(scale.renewals):
            start_s = now_s()
            renew(arena)
            times_s.append(now_s() - start_s)
            until(start_s + 0.5)
        attempts, streamed, held = logins.finish(), busy.finish(), idle.finish()
    note_sessions(stage, held, streamed, attempts)
    stage.figures.note("times", f"{len(times_s)}, each {percentile(times_s, 0.5):.2f} s")
    start_s = now_s()
    wait_until("the oldest have left", lambda: not oldest & living(arena), DRAIN_S * scale.patience)
    stage.figures.below(
        "old processes stay after the last session", DRAIN_S * scale.patience, now_s() - start_s
    )
    stage.close_books()


def note_sessions(
    stage: Stage, held: load.Held, streamed: list[load.Streamed], attempts: list[load.Login]
) -> None:
    """Note what became of those who were there, and of those who came."""
    scale, figures = stage.scale, stage.figures
    figures.none("idle sessions lost", held.lost + held.broken, of=scale.idle_sessions)
    unequal = [one.address for one in streamed if not one.is_equal]
    sent_mib = sum(one.sent_bytes for one in streamed) >> 20
    figures.none("busy sessions whose hashes differ", unequal, of=len(streamed))
    figures.note("bytes through busy sessions", f"{sent_mib} MiB each way", sent_mib > 0)
    odd = [login.outcome for login in attempts if login.outcome != load.OK]
    figures.none("new logins refused, reset or failed", odd, of=len(attempts))
    slowest_s = percentile([login.ended_s - login.began_s for login in attempts], 0.99)
    figures.note("new logins, p99", f"{slowest_s:.3f} s")


def test_reload(mode: str, scale: Scale) -> None:
    """F12, C2: every session is kept, and every connect is served."""
    with Stage("reload", mode, scale) as stage:
        go_through(stage, reload)


def test_upgrade(mode: str, scale: Scale) -> None:
    """F12, C2: the same, with a new master each time."""
    with Stage("upgrade", mode, scale) as stage:
        go_through(stage, upgrade)
