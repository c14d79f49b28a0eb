"""More logins than auth can look up, because the database hangs."""

from __future__ import annotations

import select
from typing import NamedTuple

import pytest

from mailproxy.auth.pool import QUEUE_LIMIT
from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, leaves_no_trace
from tests.process.look import echoes, guest, wait_service

THREADS = 2
BUSY = b"a1 NO [UNAVAILABLE] Temporary authentication failure."
WRONG = b"a1 NO [AUTHENTICATIONFAILED] Authentication failed."
MEMORY_LIMIT_BYTES = 20 << 20


class Size(NamedTuple):
    logins: int
    queue: int


# Where each login costs a process there are fewer, and a shorter queue.
SIZES = {"shared": Size(2000, QUEUE_LIMIT), "own": Size(60, 16)}
# It waits for a lock until the test is over.
PROGRAM = """\
import sys
from mailproxy.auth.pool import Pool
from mailproxy.cli import main
from mailproxy.passdb import sql_hosts
Pool.__init__.__defaults__ = ({queue},)
sql_hosts.SQLITE_BUSY_S = 50.0
sys.exit(main())
"""


def heard(clients: list[RawClient]) -> list[RawClient]:
    """Return those for whom an answer is there."""
    poll, of_fd = select.poll(), {client.socket.fileno(): client for client in clients}
    for fd in of_fd:
        poll.register(fd, select.POLLIN)
    return [of_fd[fd] for fd, _ in poll.poll(0)]


@pytest.mark.parametrize("mode", list(MODES))
def test_more_logins_than_the_queue_holds(mode: str) -> None:
    """X09: a temporary failure at once; memory stays, sessions go on, and who waits gets his answer."""
    logins, queue = SIZES[mode]
    arena = Arena(f"auth_debug = no\n{MODES[mode]}", auth=f"  worker_max_count = {THREADS}\n")
    arena.proxy.program = ["-c", PROGRAM.format(queue=queue)]
    with arena, leaves_no_trace(arena):
        flood(arena, logins, logins - queue - THREADS)


def flood(arena: Arena, logins: int, refused: int) -> None:
    """Have so many log in at once, of whom so many are beyond the queue."""
    session = guest(arena)
    (auth,) = arena.proxy.children("auth")
    before_bytes = auth.memory_info().rss
    clients = [arena.client() for _ in range(logins)]
    arena.database.execute("BEGIN EXCLUSIVE")
    try:
        for client in clients:
            client.send(b"a1 LOGIN guest wrong\r\n")
        wait_until("those beyond the queue were answered", lambda: len(heard(clients)) >= refused)
        assert auth.memory_info().rss - before_bytes < MEMORY_LIMIT_BYTES
        at_once = heard(clients)
        assert len(at_once) == refused
        assert {client.line() for client in at_once} == {BUSY}
        assert echoes(session)
    finally:
        arena.database.execute("ROLLBACK")
    assert {client.line() for client in set(clients) - set(at_once)} == {WRONG}
    assert auth.memory_info().rss - before_bytes < MEMORY_LIMIT_BYTES
    assert arena.proxy.log_text().count("All auth workers are busy") < 10
    wait_service(arena)
    assert arena.proxy.children("auth") == [auth]
    assert echoes(session)
    for client in (*clients, session):
        client.close()
