"""More clients than slots, fewer descriptors than clients."""

from __future__ import annotations

import os
import time

import psutil

from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, cpu_s, echoes, greets, guest, pids, try_login, wait_service


def test_the_oldest_login_goes_and_a_session_never(new_whole_arena: NewArena) -> None:
    """X01: many connections a process."""
    arena = new_whole_arena(
        "login_processes_count = 1", "login_max_processes_count = 1", "login_max_connections = 20"
    )
    sessions = [guest(arena) for _ in range(10)]
    idlers: list[RawClient] = []
    for _ in range(60):
        idlers.append(RawClient(arena.proxy.imap_port))
        assert idlers[-1].greeting.startswith(b"* OK")
    gone = [idler for idler in idlers if not idler.is_silent(0.01)]
    assert gone == idlers[: len(gone)]
    assert len(idlers) - len(gone) <= 10
    assert all(idler.rest().startswith(b"* BYE ") for idler in gone)
    arena.proxy.wait_log("Connection queue full", 40)
    start = time.monotonic()
    assert try_login(arena).startswith(b"a1 OK ")
    assert time.monotonic() - start < 1
    assert all(echoes(session) for session in sessions)
    assert len(pids(arena, "imap-login")) == 1
    for client in (*idlers, *sessions):
        client.close()


def test_a_process_full_of_sessions_turns_nobody_away(new_arena: NewArena) -> None:
    """X01: who comes then waits until a session ends."""
    arena = new_arena(
        "login_processes_count = 1", "login_max_processes_count = 1", "login_max_connections = 4"
    )
    sessions = [guest(arena) for _ in range(4)]
    late = RawClient(arena.proxy.imap_port, greet=False)
    assert late.is_silent(1.5)
    sessions.pop().close()
    assert late.line().startswith(b"* OK")
    assert all(echoes(session) for session in sessions)
    for client in (late, *sessions):
        client.close()


def test_the_oldest_login_goes_in_the_mode_of_one_connection_a_process(new_whole_arena: NewArena) -> None:
    """X01: the master has it dropped when no more processes may be forked; sessions stay."""
    arena = new_whole_arena(
        "login_process_per_connection = yes", "login_processes_count = 2", "login_max_processes_count = 6"
    )
    sessions = [guest(arena) for _ in range(3)]
    idlers = [RawClient(arena.proxy.imap_port) for _ in range(3)]
    wait_until("six processes", lambda: len(pids(arena, "imap-login")) == 6)
    start = time.monotonic()
    late = RawClient(arena.proxy.imap_port)
    assert late.greeting.startswith(b"* OK")
    assert time.monotonic() - start < 4
    assert idlers[0].rest().startswith(b"* BYE ")
    assert all(echoes(session) for session in sessions)
    assert late.ask(b"a LOGIN guest %s\r\n" % arena.GUEST).startswith(b"a OK ")
    assert len(pids(arena, "imap-login")) <= 6
    for client in (late, *idlers, *sessions):
        client.close()


def test_a_maximum_of_sessions(new_arena: NewArena) -> None:
    """With each process carrying a session, who comes waits in the kernel's queue."""
    arena = new_arena(
        "login_process_per_connection = yes", "login_processes_count = 1", "login_max_processes_count = 4"
    )
    sessions = [guest(arena) for _ in range(4)]
    late = RawClient(arena.proxy.imap_port, greet=False)
    assert late.is_silent(1.5)
    assert len(pids(arena, "imap-login")) == 4
    sessions[0].close()
    assert late.line().startswith(b"* OK")
    assert all(echoes(session) for session in sessions[1:])
    for client in (late, *sessions[1:]):
        client.close()


def test_a_burst_in_the_mode_of_one_connection_a_process(new_whole_arena: NewArena) -> None:
    """Forking keeps up: forty clients at once are all served, and then the processes leave."""
    arena = new_whole_arena("login_process_per_connection = yes", "login_processes_count = 3")
    start = time.monotonic()
    clients = [RawClient(arena.proxy.imap_port, greet=False) for _ in range(40)]
    assert all(client.line().startswith(b"* OK") for client in clients)
    assert time.monotonic() - start < 5
    for client in clients:
        client.close()
    wait_until("those who served have left", lambda: len(pids(arena, "imap-login")) < 20)


def restart_with_descriptors(arena: Arena, count: int, change: str = "") -> None:
    """The master has a few dozen, so a worker soon has too few; `change` is code that it runs first."""
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count}))"
    arena.proxy.stop()
    arena.proxy.program = [
        "-c",
        f"import resource, sys\nfrom mailproxy.cli import main\n{change}\n{limit}\nsys.exit(main())",
    ]
    arena.proxy.start()


def _only_worker(arena: Arena) -> psutil.Process:
    (worker,) = arena.proxy.children("imap-login")
    return worker


ONE_WORKER = ("login_processes_count = 1", "login_max_processes_count = 1")


def test_out_of_descriptors(new_whole_arena: NewArena) -> None:
    """X04: accepting pauses, the log and the CPU stay calm, sessions go on, and it resumes by itself."""
    arena = new_whole_arena(*ONE_WORKER)
    restart_with_descriptors(arena, 32)
    session = guest(arena)
    worker = _only_worker(arena)
    clients = [RawClient(arena.proxy.imap_port, greet=False) for _ in range(40)]
    arena.proxy.wait_log("Error: imap-login: accept() failed: Too many open files")
    before_s, before_lines = cpu_s([worker]), arena.proxy.log_text().count("accept() failed")
    start = time.monotonic()
    while time.monotonic() - start < 3:
        assert echoes(session)
        time.sleep(0.1)  # the calm has to last
    assert cpu_s([worker]) - before_s < 0.15
    assert arena.proxy.log_text().count("accept() failed") - before_lines <= 3
    assert greets(arena.proxy.pop3_port)
    for client in clients:
        client.close()
    wait_until("it serves again", lambda: greets(arena.proxy.imap_port))
    assert _only_worker(arena) == worker
    session.close()


def listens(process: psutil.Process) -> bool:
    return any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))


def test_out_of_descriptors_at_an_upgrade(new_arena: NewArena) -> None:
    """X05, F12: it cannot be given the way to the new workers; it keeps its session and takes no others."""
    arena = new_arena(*ONE_WORKER)
    restart_with_descriptors(arena, 32)
    session = guest(arena)
    worker = _only_worker(arena)
    clients = [RawClient(arena.proxy.imap_port, greet=False) for _ in range(40)]
    arena.proxy.wait_log("Error: imap-login: accept() failed: Too many open files")
    arena.proxy.replace_master()
    wait_until("it listens no more", lambda: not listens(worker))
    assert echoes(session)
    for client in clients:
        client.close()
    session.close()
    wait_until("it has left", lambda: not worker.is_running())
    wait_until("the new ones serve", lambda: greets(arena.proxy.imap_port), 3)


def test_out_of_descriptors_at_the_backend(new_whole_arena: NewArena) -> None:
    """X05: that login fails for now; the connection and everybody else live on."""
    arena = new_whole_arena(*ONE_WORKER)
    restart_with_descriptors(arena, 32)
    session = guest(arena)
    client = RawClient(arena.proxy.imap_port)
    idlers = [RawClient(arena.proxy.imap_port, greet=False) for _ in range(40)]
    arena.proxy.wait_log("accept() failed")
    assert client.ask(b"a LOGIN guest %s\r\n" % arena.GUEST).startswith(b"a NO [UNAVAILABLE] ")
    assert echoes(session)
    for idler in idlers:
        idler.close()
    wait_until("it serves again", lambda: greets(arena.proxy.imap_port))
    assert client.ask(b"b LOGIN guest %s\r\n" % arena.GUEST).startswith(b"b OK ")
    session.close()
    client.close()


def test_out_of_descriptors_for_auth(new_whole_arena: NewArena) -> None:
    """X05: auth is new, and somebody else has the descriptor for it: all is calm, and logins go on later."""
    arena = new_whole_arena(*ONE_WORKER)
    # So long that a client who waits gets the descriptor of the link that ended.
    slowly = "from mailproxy.process import auth_link\nauth_link._RECONNECT_MIN_S = 1.5\n"
    restart_with_descriptors(arena, 32, f"{slowly}auth_link._RECONNECT_MAX_S = 1.5")
    session, client = guest(arena), RawClient(arena.proxy.imap_port)
    worker = _only_worker(arena)
    idlers = [RawClient(arena.proxy.imap_port, greet=False) for _ in range(40)]
    arena.proxy.wait_log("accept() failed")
    before_s = cpu_s([worker])
    arena.proxy.kill("auth")
    arena.proxy.wait_log("Error: imap-login: Can't connect to auth server at ", timeout_s=20)
    assert ": Too many open files" in arena.proxy.log_text().partition("Can't connect to auth")[2]
    client.send(b"a LOGIN guest %s\r\n" % arena.GUEST)
    assert echoes(session)
    for idler in idlers:
        idler.close()
    reply = client.line()
    assert reply.startswith((b"a OK ", b"a NO [UNAVAILABLE] ")), reply
    guest(arena).close()
    assert cpu_s([worker]) - before_s < 0.5
    assert arena.proxy.log_text().count("Can't connect to auth") < 5
    assert _only_worker(arena) == worker
    session.close()
    client.close()


BEYOND = """\
import os, sys
from mailproxy.cli import main
for _ in range(1024):
    os.dup(2)
sys.exit(main())
"""


def test_descriptors_beyond_1023() -> None:
    """X07: the master has one for each child, so where each client has a process it needs many."""
    arena = Arena(MODES["own"])
    arena.proxy.program = ["-c", BEYOND]
    with arena, guest(arena) as session:
        arena.proxy.kill("auth")
        wait_service(arena)
        assert echoes(session)
        (auth,) = pids(arena, "auth")
        for pid in (arena.proxy.pid, auth, *carriers(arena, [session])):
            assert max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")) > 1023
