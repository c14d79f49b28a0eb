"""Processes are killed without warning; what need not end goes on. How soon is measured by tests/stress."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.harness.arena import Arena
from tests.harness.proxy import START_S
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, connects, cpu_s, echoes, greets, guest, pids, try_login, wait_service


@pytest.mark.usefixtures("whole")
def test_a_killed_worker_takes_only_its_own_sessions(arena: Arena) -> None:
    """F01: the others live, the replacement serves at once, no zombie stays."""
    sessions = [guest(arena) for _ in range(12)]
    pids_of = carriers(arena, sessions)
    victim = pids_of[0]
    os.kill(victim, signal.SIGKILL)
    wait_service(arena)
    for session, carrier in zip(sessions, pids_of, strict=True):
        if carrier == victim:
            assert session.rest() == b""
        else:
            assert echoes(session)
    arena.proxy.wait_log(f"Error: child {victim} (login) killed with signal 9")
    wait_until("the dead is buried", lambda: not psutil.pid_exists(victim))
    wait_until("two workers listen again", lambda: len(pids(arena, "imap-login")) >= 2)
    assert not [p for p in psutil.Process(arena.proxy.pid).children() if p.status() == psutil.STATUS_ZOMBIE]
    for session in sessions:
        session.close()


def all_hold_sockets(arena: Arena, count: int) -> bool:
    try:
        for pid in pids(arena, "imap-login") | pids(arena, "pop3-login"):
            targets = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            if sum(target.startswith("socket:") for target in targets) != count:
                return False
    except OSError:
        return False  # One of them has just ended.
    return True


@pytest.mark.usefixtures("whole")
def test_all_workers_killed_at_once(arena: Arena) -> None:
    """F16: all were ready; one killed before that counts as one that cannot start, and its group waits."""
    for role in ("imap-login", "pop3-login"):
        wait_until("two workers are up", lambda role=role: len(pids(arena, role)) >= 2)  # type: ignore[misc]
    wait_until("all hold listener, channel and auth", lambda: all_hold_sockets(arena, 3))
    before = pids(arena, "imap-login") | pids(arena, "pop3-login")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_service(arena)
    guest(arena, "pop3").close()
    wait_until("all are buried", lambda: not any(psutil.pid_exists(pid) for pid in before))
    arena.proxy.wait_log("(login) killed with signal 9", 4)


@pytest.mark.usefixtures("whole")
def test_killed_auth(arena: Arena) -> None:
    """F03: sessions never notice, logins under way end or succeed, and it is back in under a second."""
    session = guest(arena)
    waiting = arena.client()
    replies: list[bytes] = []
    threads = [threading.Thread(target=lambda: replies.append(try_login(arena))) for _ in range(10)]
    old = arena.proxy.kill("auth")
    for thread in threads:
        thread.start()
    wait_service(arena)
    for thread in threads:
        thread.join(6)
    assert len(replies) == 10
    assert all(reply.startswith((b"a1 OK ", b"a1 NO [UNAVAILABLE] ")) for reply in replies), replies
    assert echoes(session)
    assert waiting.ask(b"w LOGIN guest %s\r\n" % arena.GUEST).startswith(b"w OK ")
    arena.proxy.wait_log(f"child {old} (auth) killed with signal 9")
    session.close()
    waiting.close()


@pytest.mark.usefixtures("whole")
def test_auth_killed_in_the_middle_of_an_exchange(arena: Arena) -> None:
    """F17: a challenge of the dead auth is answered by nobody; the client may try again."""
    with arena.client() as client:
        assert client.ask(b"a AUTHENTICATE CRAM-MD5\r\n").startswith(b"+ ")
        arena.proxy.kill("auth")
        assert client.line().startswith(b"a NO [UNAVAILABLE] ")
        assert client.ask(b"b LOGIN guest %s\r\n" % arena.GUEST).startswith(b"b OK ")


@pytest.mark.usefixtures("whole")
def test_stopped_auth_recovers(arena: Arena) -> None:
    """F04: logins wait while it is stopped, and go on with it."""
    (auth,) = arena.proxy.children("auth")
    session = guest(arena)
    client = arena.client()
    auth.suspend()
    try:
        client.send(b"a LOGIN guest %s\r\n" % arena.GUEST)
        assert client.is_silent(0.3)
        assert echoes(session)
    finally:
        auth.resume()
    assert client.line().startswith(b"a OK ")
    client.close()
    session.close()


def test_stopped_master_stops_no_login(new_whole_arena: NewArena) -> None:
    """X12, X10: neither its channel nor the log pipe makes a worker wait, and lost lines are counted."""
    arena = new_whole_arena()
    master = psutil.Process(arena.proxy.pid)
    master.suspend()
    try:
        for _ in range(300):
            assert try_login(arena).startswith(b"a1 OK ")
    finally:
        master.resume()
    wait_until(
        "all logins were logged or counted",
        lambda: arena.proxy.log_text().count("disconnecting") >= 300 or arena.proxy.log_contains("were lost"),
    )


def test_stopped_master_forks_nobody(new_arena: NewArena) -> None:
    """X12, X10, X15: where each client has a process, as many are served as stand ready, and others later."""
    arena = new_arena(MODES["own"], "login_processes_count = 10")
    wait_until("ten stand ready", lambda: len(pids(arena, "imap-login")) == 10)
    master = psutil.Process(arena.proxy.pid)
    master.suspend()
    try:
        sessions = [guest(arena) for _ in range(10)]
        assert len(set(carriers(arena, sessions))) == 10
        late = RawClient(arena.proxy.imap_port, greet=False)
        assert late.is_silent(0.5)
        assert all(echoes(session) for session in sessions)
    finally:
        master.resume()
    assert late.line().startswith(b"* OK")
    for client in (late, *sessions):
        client.close()
    arena.proxy.wait_log("disconnecting", 10)


def test_killed_master(arena: Arena) -> None:
    """F05: nobody accepts any more, sessions live to their end, and a new master starts at once."""
    session = guest(arena)
    idle = arena.client()
    orphans = arena.proxy.processes()
    os.kill(arena.proxy.pid, signal.SIGKILL)
    assert idle.rest().startswith(b"* BYE ")
    wait_until("nobody listens", lambda: not connects(arena.proxy.imap_port))
    assert echoes(session)
    assert arena.proxy.stop() == -signal.SIGKILL
    arena.proxy.start()
    assert try_login(arena).startswith(b"a1 OK ")
    assert echoes(session)
    session.close()
    idle.close()
    gone = [process for process in orphans if process.pid != arena.proxy.pid]
    wait_until("the orphans have left", lambda: not any(process.is_running() for process in gone))


def test_killed_master_without_sessions(arena: Arena) -> None:
    """F05: nothing is left within seconds."""
    os.kill(arena.proxy.pid, signal.SIGKILL)
    assert arena.proxy.stop() == -signal.SIGKILL
    wait_until("every process has left", lambda: not arena.proxy.processes())
    assert not connects(arena.proxy.imap_port)


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's workers need no directory")
def test_workers_that_die_at_start(new_arena: NewArena) -> None:
    """F02: login_dir is gone. One line each, growing delays, no spinning; the other protocol serves."""
    arena = new_arena("protocol imap {\n  login_processes_count = 2\n}", "login_chroot = yes")
    login_dir = arena.proxy.base_dir / "login"
    hidden = arena.proxy.base_dir / "hidden"
    login_dir.rename(hidden)
    session = guest(arena, "pop3")
    for worker in arena.proxy.children("imap-login"):
        worker.kill()
    slowing = "Temporary failure in creating login processes, slowing down for now"
    arena.proxy.wait_log(slowing)
    before_s = cpu_s([psutil.Process(arena.proxy.pid)])
    arena.proxy.wait_log("(login) returned error", 4)
    assert cpu_s([psutil.Process(arena.proxy.pid)]) - before_s < 0.2
    assert arena.proxy.log_text().count("(login) returned error") < 8
    assert arena.proxy.log_text().count(slowing) == 1
    assert greets(arena.proxy.pop3_port)
    assert echoes(session)
    hidden.rename(login_dir)
    arena.proxy.wait_log("Created login processes successfully, unstalling", timeout_s=START_S)
    wait_service(arena)
    session.close()
    # The errors of this test are no bugs of the proxy.
    arena.proxy.log.write_text(arena.proxy.log_text().replace("Traceback", "(expected)"))


def test_auth_that_dies_at_start_again_and_again(new_whole_arena: NewArena) -> None:
    """F02: its SQL file broke while it ran. It is tried ever more slowly, and is back once it is mended."""
    arena = new_whole_arena()
    session = guest(arena)
    good = arena.proxy.sql.read_text()
    arena.proxy.sql.write_text("driver = nothing\n")
    arena.proxy.kill("auth")
    arena.proxy.wait_log("(auth) returned error 89", 4)
    assert arena.proxy.log_text().count("slowing down for now") == 1
    start = time.monotonic()
    reply = try_login(arena)
    assert reply.startswith(b"a1 NO [UNAVAILABLE] ")
    assert time.monotonic() - start < 8
    assert echoes(session)
    arena.proxy.sql.write_text(good)
    wait_service(arena, START_S)
    arena.proxy.wait_log("Created authentication processes successfully, unstalling")
    session.close()


def test_auth_that_cannot_start_at_all(new_arena: NewArena) -> None:
    """F02: the service ends with status 89 and says so, and leaves nothing."""
    arena = new_arena()
    assert arena.proxy.stop() == 0
    arena.proxy.sql.write_text("driver = nothing\n")
    arena.proxy.start(wait=False)
    wait_until("the master has ended", lambda: not arena.proxy.processes(), START_S)
    assert arena.proxy.stop() == 89
    assert arena.proxy.log_contains("Fatal: Auth process died too early - shutting down")
    assert not (arena.proxy.base_dir / "master.pid").exists()
