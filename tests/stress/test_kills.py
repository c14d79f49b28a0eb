"""Processes are killed under a steady load, again and again."""

from __future__ import annotations

import contextlib
import math
import os
import signal

import psutil

from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.look import connects, echoes, guest, wait_service
from tests.stress import load
from tests.stress.figures import percentile
from tests.stress.scale import Scale
from tests.stress.stage import Stage, now_s
from tests.stress.witness import clients_of, until

SESSIONS = 40
PAUSE_S = 0.1
PATIENCE_S = 20.0
# Auth that dies younger counts as one that cannot live, and waits.
YOUNG_S = 1.2


def first_good_s(kills: list[float], logins: list[load.Login]) -> list[float]:
    """Return how long after each kill somebody had logged in who came after it."""
    good = [login for login in logins if login.outcome == load.OK]
    return [
        min((login.ended_s for login in good if login.began_s >= kill_s), default=math.inf) - kill_s
        for kill_s in kills
    ]


def note_service(stage: Stage, kills: list[float], logins: list[load.Login]) -> None:
    gaps = first_good_s(kills, logins)
    stage.figures.below("first good login, p95", 1.0 * stage.scale.patience, percentile(gaps, 0.95))


def stop_one(stage: Stage) -> tuple[psutil.Process, set[load.Address]]:
    """Stop the worker with most descriptors, and so most clients; returns it and the clients' addresses.

    It stands ready, so its death is no failure to start; and stopped it takes nobody any more.
    """
    while True:
        victim = max(stage.arena.proxy.children("imap-login"), key=count_fds)
        with contextlib.suppress(psutil.NoSuchProcess):  # its only client has just left
            victim.suspend()
            if clients := clients_of(victim, stage.port):
                return victim, clients
            victim.resume()


def count_fds(process: psutil.Process) -> int:
    """Return how many descriptors it has, none when it has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.num_fds()
    return 0


def test_workers_killed(mode: str, scale: Scale) -> None:
    """F01, F16, C3: only sessions of the killed one are lost, and somebody else serves at once."""
    with Stage("kill a worker", mode, scale) as stage:
        kills: list[float] = []
        doomed: set[load.Address] = set()
        with stage.sessions(SESSIONS, 0.5) as sessions, stage.logins(scale.loops, PAUSE_S) as logins:
            sessions.wait_ready()
            logins.wait_ready()
            for _ in range(scale.kills):
                victim, clients = stop_one(stage)
                doomed |= clients
                kills.append(now_s())
                victim.kill()
                wait_until("it is buried", lambda pid=victim.pid: not psutil.pid_exists(pid))  # type: ignore[misc]
                stage.wait_whole()
                until(kills[-1] + 0.5)
            attempts, held = logins.finish(), sessions.finish()
        stage.figures.note("kills", len(kills), len(kills) == scale.kills)
        lost = [login.address for login in attempts if login.outcome == load.LOST]
        elsewhere = [address for address in [*held.lost, *held.broken, *lost] if address not in doomed]
        stage.figures.note("clients of killed workers", len(doomed), len(doomed) >= len(kills))
        stage.figures.none("sessions lost elsewhere", elsewhere)
        odd = [login.outcome for login in attempts if login.outcome not in (load.OK, load.LOST)]
        stage.figures.none("logins refused", odd, of=len(attempts))
        note_service(stage, kills, attempts)
        stage.close_books()


def test_auth_killed(mode: str, scale: Scale) -> None:
    """F03, C4: no session is lost, and logins under way end with an answer."""
    with Stage("kill auth", mode, scale) as stage:
        kills: list[float] = []
        with stage.sessions(SESSIONS, 0.5) as sessions, stage.logins(scale.loops, PAUSE_S) as logins:
            sessions.wait_ready()
            logins.wait_ready()
            for _ in range(scale.kills):
                kills.append(now_s())
                stage.arena.proxy.kill("auth")
                wait_service(stage.arena, PATIENCE_S)
                until(now_s() + YOUNG_S)
            attempts, held = logins.finish(), sessions.finish()
        stage.figures.note("kills", len(kills), len(kills) == scale.kills)
        stage.figures.none("sessions lost", held.lost + held.broken, of=SESSIONS)
        odd = [login.outcome for login in attempts if login.outcome not in (load.OK, load.UNAVAILABLE)]
        stage.figures.none("logins without a proper answer", odd, of=len(attempts))
        longest_s = max(login.ended_s - login.began_s for login in attempts)
        stage.figures.below("longest wait for an answer", 5.0 * scale.patience, longest_s)
        note_service(stage, kills, attempts)
        stage.close_books()


def test_master_killed(mode: str, scale: Scale) -> None:
    """F05, C5: nobody accepts any more, sessions live on, and a new master starts at once."""
    closing: list[float] = []
    leaving: list[float] = []
    broken = 0
    with Stage("kill the master", mode, scale) as stage:
        proxy = stage.arena.proxy
        for _ in range(scale.master_kills):
            sessions = [guest(stage.arena) for _ in range(3)]
            idle = [RawClient(stage.port) for _ in range(3)]
            needed = {
                worker.pid
                for worker in proxy.children("imap-login")
                if clients_of(worker, stage.port) & {session.socket.getsockname() for session in sessions}
            }
            start_s = now_s()
            os.kill(proxy.pid, signal.SIGKILL)
            assert proxy.stop() == -signal.SIGKILL
            wait_until("nobody listens", lambda: not connects(stage.port))
            closing.append(now_s() - start_s)
            wait_until(
                "who has no session has left",
                lambda needed=needed: {process.pid for process in proxy.processes()} <= needed,  # type: ignore[misc]
                5.0 * scale.patience,
            )
            leaving.append(now_s() - start_s)
            proxy.start()
            broken += sum(not echoes(session) for session in sessions)
            for client in (*sessions, *idle):
                client.close()
        stage.figures.note("kills; a new master bound at first try", len(closing))
        stage.figures.below("somebody accepts, at most", 1.0 * scale.patience, max(closing))
        stage.figures.below("processes without sessions live, at most", 5.0 * scale.patience, max(leaving))
        stage.figures.note("sessions broken: 0", f"{broken} of {3 * len(closing)}", broken == 0)
        stage.close_books()
