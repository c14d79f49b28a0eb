"""The master has too few descriptors for another child."""

from __future__ import annotations

from tests.harness.raw_client import RawClient
from tests.process.conftest import MODES, NewArena
from tests.process.look import connects, echoes, guest, wait_service
from tests.process.test_limits import restart_with_descriptors


def test_out_of_descriptors_for_children(new_whole_arena: NewArena) -> None:
    """X04: no more processes are forked, with few lines; sessions go on, and it resumes by itself."""
    arena = new_whole_arena(MODES["own"], "login_processes_count = 2")
    restart_with_descriptors(arena, 48)
    session = guest(arena)
    clients = [RawClient(arena.proxy.imap_port, greet=False) for _ in range(60)]
    arena.proxy.wait_log("Error: fork() for imap-login failed: Too many open files")
    assert echoes(session)
    assert connects(arena.proxy.pop3_port)
    for client in clients:
        client.close()
    wait_service(arena)
    assert echoes(session)
    session.close()
    assert arena.proxy.log_text().count("failed: Too many open files") < 10
