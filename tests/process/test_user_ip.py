"""mail_max_userip_connections over many workers."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil
import pytest

from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, echoes, guest, pids, try_login

TOO_MANY = b"Maximum number of connections from user+IP exceeded (mail_max_userip_connections=%d)"
LOGIN = b"a1 LOGIN guest %s\r\n" % Arena.GUEST


def refused(arena: Arena, limit: int) -> RawClient:
    """Return a client whose login is one too many."""
    client = arena.client()
    assert client.ask(LOGIN) == b"a1 NO [LIMIT] " + TOO_MANY % limit
    return client


def can_log_in(arena: Arena, user: bytes = b"guest") -> bool:
    with arena.client() as client:
        return client.ask(LOGIN.replace(b"guest", user)).startswith(b"a1 OK")


@pytest.mark.parametrize("mode", list(MODES))
def test_a_user_has_so_many_sessions_from_an_address(new_arena: NewArena, mode: str) -> None:
    """X03: exact over four workers, per protocol; and no backend is asked."""
    arena = new_arena(
        MODES[mode],
        "login_processes_count = 4",
        "disable_plaintext_auth = no",
        "mail_max_userip_connections = 10",
        "protocol pop3 {\n  mail_max_userip_connections = 3\n}",
    )
    sessions = [guest(arena) for _ in range(10)]
    asked = len(arena.house_imap.peers)
    client = refused(arena, 10)
    assert len(arena.house_imap.peers) == asked
    arena.proxy.wait_log(
        f"Info: imap-login: {(TOO_MANY % 10).decode()}: user=<guest>, method=PLAIN, rip=127.0.0.1, "
    )
    with RawClient(arena.proxy.imap_port, source="127.0.0.2") as elsewhere:
        assert elsewhere.ask(LOGIN).startswith(b"a1 OK")
    with arena.client() as other:
        assert other.ask(LOGIN.replace(b"guest", b"bystander")).startswith(b"a1 OK")
    pops = [guest(arena, "pop3") for _ in range(3)]
    with arena.client("pop3") as pop:
        assert pop.ask(b"USER guest\r\n") == b"+OK"
        assert pop.ask(b"PASS %s\r\n" % arena.GUEST) == b"-ERR [IN-USE] " + TOO_MANY % 3
    sessions.pop().close()
    wait_until("there is room", lambda: client.ask(LOGIN).startswith(b"a1 OK"), 2)
    assert all(echoes(session) for session in sessions)
    for one in (*sessions, *pops, client):
        one.close()


@pytest.mark.parametrize("mode", list(MODES))
def test_a_killed_worker_gives_its_places_back(new_whole_arena: NewArena, mode: str) -> None:
    """X03: within two seconds, as often as it happens; and so does one that is told to end."""
    arena = new_whole_arena(MODES[mode], "login_processes_count = 4", "mail_max_userip_connections = 10")
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        sessions = [guest(arena) for _ in range(10)]
        refused(arena, 10).close()
        for pid in set(carriers(arena, sessions)):
            os.kill(pid, number)
        assert all(session.rest() == b"" for session in sessions)
        wait_until("there is room for one", lambda: can_log_in(arena), 2)
        for session in sessions:
            session.close()
        # The one who looked has to be gone before ten fit again.
        wait_until("every session is logged as ended", lambda: not carriers_of_anybody(arena))


def carriers_of_anybody(arena: Arena) -> set[int]:
    found = set()
    for process in arena.proxy.children("imap-login"):
        with contextlib.suppress(psutil.Error):
            if any(connection.raddr for connection in process.net_connections("tcp4")):
                found.add(process.pid)
    return found


@pytest.mark.parametrize("mode", list(MODES))
def test_a_backend_that_fails_gives_the_place_back(new_arena: NewArena, mode: str) -> None:
    """X03: neither a refused connect nor a refused password counts."""
    arena = new_arena(MODES[mode], "mail_max_userip_connections = 1", "login_proxy_max_reconnects = 0")
    arena.add("nowhere", None, 1, 1)
    with arena.client() as client:
        for _ in range(3):
            assert client.ask(b"a LOGIN nowhere x\r\n").startswith(b"a NO [UNAVAILABLE]")
    with guest(arena) as session:
        refused(arena, 1).close()
        assert echoes(session)


def test_sessions_count_over_reloads_and_restarts(arena: Arena) -> None:
    """X03: those in workers of before, of a killed master too, until they end; auth does not matter."""
    text = arena.proxy.configuration.read_text()
    arena.proxy.configuration.write_text(text + "mail_max_userip_connections = 2\n")
    auth = pids(arena, "auth")
    arena.proxy.sighup()
    wait_until("the limit is in force", lambda: not pids(arena, "auth") & auth)
    session = guest(arena)
    auth = pids(arena, "auth")
    arena.proxy.sighup()
    wait_until("a second reload is over", lambda: pids(arena, "auth") - auth)
    second = guest(arena)
    refused(arena, 2).close()
    arena.proxy.kill("auth")
    wait_until("auth is back", lambda: try_login(arena).startswith(b"a1 NO [LIMIT] "))
    os.kill(arena.proxy.pid, signal.SIGKILL)
    arena.proxy.stop()
    arena.proxy.start()
    refused(arena, 2).close()
    assert echoes(session)
    assert echoes(second)
    second.close()
    wait_until("there is room", lambda: can_log_in(arena), 2)
    session.close()
    assert arena.proxy.stop() == 0
    left = {path.name for path in arena.proxy.base_dir.iterdir()}
    assert left <= {"login", "userip"}
    arena.proxy.start()
    assert arena.proxy.stop() == 0
    assert [path.name for path in arena.proxy.base_dir.iterdir()] == ["login"]


def test_no_table_is_there_without_a_limit(new_arena: NewArena) -> None:
    """And no descriptor of it."""
    arena = new_arena()
    assert not (arena.proxy.base_dir / "userip").exists()
