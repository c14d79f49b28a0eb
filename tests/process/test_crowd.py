"""Many clients who do not log in, and many who do."""

from __future__ import annotations

import time
from collections import Counter

import psutil
import pytest

from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, echoes, guest, try_login

KIB = 1024
PROCESSES = 40
# A worker begins with some 3 MiB that are free: none of it grows before so many clients wait.
SERVED_FOR_NOTHING = 1500


def resident_kib(worker: psutil.Process) -> int:
    return int(worker.memory_info().rss) // KIB


def test_memory_of_clients_who_wait(new_arena: NewArena) -> None:
    """X06, X07: 32 KiB each at most, by the slope over 1000; descriptors go beyond 1023."""
    arena = new_arena("login_processes_count = 1", "login_max_connections = 4000")
    (worker,) = arena.proxy.children("imap-login")
    clients = [RawClient(arena.proxy.imap_port) for _ in range(SERVED_FOR_NOTHING)]
    before_kib = resident_kib(worker)
    clients += [RawClient(arena.proxy.imap_port) for _ in range(1000)]
    slope_kib = (resident_kib(worker) - before_kib) / 1000
    assert 0.5 < slope_kib < 32, f"{slope_kib:.1f} KiB"
    assert worker.num_fds() > 1023
    start = time.monotonic()
    assert try_login(arena).startswith(b"a1 OK ")
    assert time.monotonic() - start < 1
    with guest(arena) as session:
        assert echoes(session)
    for client in clients:
        client.close()
    wait_until("all are let go", lambda: worker.num_fds() < 50)


@pytest.mark.parametrize(
    ("mode", "count", "good_s", "limits"),
    [
        ("shared", 500, 1.0, ("login_processes_count = 2", "login_max_connections = 100")),
        # The oldest is sent away when all processes have been taken for a second.
        ("own", 100, 3.0, ("login_processes_count = 4", f"login_max_processes_count = {PROCESSES}")),
    ],
    ids=list(MODES),
)
def test_a_flood_of_clients_who_never_finish_a_line(
    new_whole_arena: NewArena, mode: str, count: int, good_s: float, limits: tuple[str, str]
) -> None:
    """X02: bounded by the slots; whoever knows his password is served at once all the while."""
    arena = new_whole_arena(MODES[mode], *limits)
    with guest(arena) as session:
        clients: list[RawClient] = []
        for number in range(count):
            client = RawClient(arena.proxy.imap_port, greet=False)
            client.send(b"a LOG")
            clients.append(client)
            if number % 20 == 19:
                start = time.monotonic()
                assert try_login(arena).startswith(b"a1 OK ")
                assert time.monotonic() - start < good_s
        workers = arena.proxy.children("imap-login")
        assert len(workers) <= PROCESSES
        assert all(worker.num_fds() < 130 for worker in workers)
        assert echoes(session)
    for client in clients:
        client.close()


@pytest.mark.parametrize("count", [4])
def test_sessions_are_spread(new_arena: NewArena, count: int) -> None:
    """X15: nobody holds over twice his share of 400."""
    arena = new_arena(MODES["shared"], f"login_processes_count = {count}", "login_max_connections = 4000")
    sessions = [guest(arena) for _ in range(400)]
    held = Counter(carriers(arena, sessions))
    assert len(held) == count, held
    assert max(held.values()) <= 2 * 400 // count, held
    for session in sessions:
        session.close()
