"""Processes that hang, made to look hung by SIGSTOP; the master looks more often here than in service."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.harness.arena import Arena
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, echoes, guest, pids, run_ctl, try_login, wait_service

# A limit of 1.5 s instead of 15; who is asked for his clients hangs when `who` may.
HASTY = """
import sys, time
from mailproxy import cli
from mailproxy.process import pulse, roster

def hang_on_purpose(*_arguments):
    time.sleep(60)

pulse._BEAT_S, pulse._LIMIT_S, pulse._AUTH_START_S = 0.8, 1.5, 3.0
if "hang" in sys.argv:
    sys.argv.remove("hang")
    roster.Roster.tell = hang_on_purpose
sys.exit(cli.main())
"""


@contextlib.contextmanager
def hasty(mode: str, *words: str) -> Iterator[Arena]:
    """An arena whose master looks after its children ten times as often."""
    arena = Arena("\n".join(("auth_debug = no", MODES[mode], "login_processes_count = 2")))
    arena.proxy.program = ["-c", HASTY, *words]
    with arena:
        yield arena


@pytest.fixture
def arena() -> Iterator[Arena]:
    with hasty("shared") as arena:
        yield arena


def is_buried(pid: int) -> bool:
    return not psutil.pid_exists(pid)


@pytest.mark.parametrize("mode", MODES)
def test_a_hung_worker_is_replaced(mode: str) -> None:
    """F21: and nobody else notices."""
    with hasty(mode) as arena:
        replace_hung_worker(arena)


def replace_hung_worker(arena: Arena) -> None:
    session = guest(arena)
    listening = pids(arena, "pop3-login")
    victim = min(listening)
    os.kill(victim, signal.SIGSTOP)
    arena.proxy.wait_log(f"child {victim} (pop3-login) has not answered for")
    wait_until("it is dead and buried", lambda: is_buried(victim))
    wait_until("there are two again", lambda: len(pids(arena, "pop3-login") - {victim}) == 2)
    guest(arena, "pop3").close()
    assert echoes(session)
    session.close()
    assert arena.proxy.log_text().count("has not answered") == 1


@pytest.mark.stress
def test_at_the_pace_of_service(new_arena: NewArena) -> None:
    """F21: replaced in under 30 s. F04: auth that stops for 10 s meanwhile is kept."""
    arena = new_arena(MODES["shared"], "login_processes_count = 2")
    (auth,) = arena.proxy.children("auth")
    victim = min(pids(arena, "imap-login"))
    started_s = time.monotonic()
    os.kill(victim, signal.SIGSTOP)
    auth.suspend()
    with arena.client("pop3") as client:
        client.send(b"USER guest\r\nPASS %s\r\n" % arena.GUEST)
        assert client.line() == b"+OK"
        assert client.is_silent(10.0)
        auth.resume()
        assert client.line().startswith(b"+OK")
    wait_until("it is dead and buried", lambda: is_buried(victim), 30)
    wait_until("there are two again", lambda: len(pids(arena, "imap-login") - {victim}) == 2)
    assert time.monotonic() - started_s < 30
    assert pids(arena, "auth") == {auth.pid}
    assert arena.proxy.log_text().count("has not answered") == 1


def test_hung_auth_is_replaced(arena: Arena) -> None:
    session = guest(arena)
    (victim,) = pids(arena, "auth")
    os.kill(victim, signal.SIGSTOP)
    arena.proxy.wait_log(f"child {victim} (auth(default)) has not answered for")
    wait_service(arena)
    assert is_buried(victim)
    assert echoes(session)
    session.close()


def test_auth_that_stops_for_a_while_is_kept(arena: Arena) -> None:
    """F04: a stop shorter than the limit costs nothing."""
    (auth,) = arena.proxy.children("auth")
    auth.suspend()
    client = arena.client()
    client.send(b"a LOGIN guest %s\r\n" % arena.GUEST)
    assert client.is_silent(1.0)
    auth.resume()
    assert client.line().startswith(b"a OK ")
    client.close()
    assert pids(arena, "auth") == {auth.pid}


def test_a_process_with_one_session_is_not_asked() -> None:
    """It may sleep for days."""
    with hasty("own") as arena:
        session = guest(arena)
        (pid,) = carriers(arena, [session])
        carrier = psutil.Process(pid)
        carrier.suspend()
        listener = min(pids(arena, "pop3-login"))
        os.kill(listener, signal.SIGSTOP)
        arena.proxy.wait_log(f"child {listener} (pop3-login) has not answered")
        carrier.resume()
        assert echoes(session)
        session.close()
        assert arena.proxy.log_text().count("has not answered") == 1


def test_a_stopped_master_kills_nobody(arena: Arena) -> None:
    before = pids(arena, "auth") | pids(arena, "imap-login") | pids(arena, "pop3-login")
    master = psutil.Process(arena.proxy.pid)
    master.suspend()
    client = arena.client()
    assert client.is_silent(3.0)  # twice the limit
    master.resume()
    client.close()
    listener = min(pids(arena, "pop3-login"))
    os.kill(listener, signal.SIGSTOP)
    arena.proxy.wait_log("has not answered")
    assert arena.proxy.log_text().count("has not answered") == 1
    assert try_login(arena).startswith(b"a1 OK ")
    assert pids(arena, "auth") <= before


def test_a_worker_that_hangs_says_where() -> None:
    """The place is in the log, before it is killed."""
    with hasty("shared", "hang") as arena:
        run_ctl(arena, "who", status=1)
        arena.proxy.wait_log("has not answered", 4)
        arena.proxy.wait_log("in hang_on_purpose", 4)
        arena.proxy.wait_log("(login) killed with signal ", 4)
        assert try_login(arena).startswith(b"a1 OK ")


def test_auth_that_never_gets_ready(arena: Arena) -> None:
    """A reload with it is given up, and the next one works."""
    good = arena.proxy.sql.read_text()
    arena.proxy.sql.unlink()
    os.mkfifo(arena.proxy.sql, 0o600)
    old = pids(arena, "auth")
    assert "did not become ready" in run_ctl(arena, "reload", status=1)
    assert "(auth(default)) did not become ready within" in arena.proxy.log_text()
    wait_until("the hung one is gone", lambda: pids(arena, "auth") == old)
    assert try_login(arena).startswith(b"a1 OK ")
    arena.proxy.sql.unlink()
    arena.proxy.sql.write_text(good)
    arena.proxy.sql.chmod(0o600)
    run_ctl(arena, "reload")
    assert not pids(arena, "auth") <= old
