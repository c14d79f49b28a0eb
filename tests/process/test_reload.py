"""SIGHUP: a new configuration takes over, or nothing changes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

import psutil
import pytest

from mailproxy.ipc.status import Order, render_order
from tests.harness.arena import Arena
from tests.harness.ports import free_port
from tests.harness.proxy import greeting
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import connects, echoes, greets, guest, pids, try_login, wait_service
from tests.process.test_jail import borrow_channels

STARTED = "SIGHUP received - reloading configuration"
REFUSED = "Invalid configuration, keeping old one"


def replace_in_configuration(arena: Arena, old: str, new: str) -> None:
    text = arena.proxy.configuration.read_text()
    assert old in text
    arena.proxy.configuration.write_text(text.replace(old, new))


def workers(arena: Arena) -> set[int]:
    return pids(arena, "imap-login") | pids(arena, "pop3-login")


@pytest.mark.usefixtures("whole")
def test_a_good_reload_keeps_sessions(arena: Arena) -> None:
    """F12: sessions live on in the old workers, which leave with them; new ones see the new settings."""
    sessions = [guest(arena) for _ in range(4)]
    old_auth, old_workers = pids(arena, "auth"), workers(arena)
    replace_in_configuration(arena, "auth_debug = no", "login_greeting = New words.")
    arena.proxy.sighup()
    wait_until("new workers greet", lambda: greeting(arena.proxy.imap_port).endswith(b"New words.\r\n"))
    assert all(echoes(session) for session in sessions)
    arena.proxy.wait_log(f"Warning: {STARTED}")
    for session in sessions:
        session.close()
    wait_until(
        "the old generation has left",
        lambda: not (pids(arena, "auth") | workers(arena)) & (old_auth | old_workers),
    )
    assert try_login(arena).startswith(b"a1 OK ")
    assert not arena.proxy.log_contains("Error: ")


def test_the_old_auth_leaves_before_sessions_end(arena: Arena) -> None:
    """F12: nobody logs in by it any more, and sessions may live for days."""
    session = guest(arena)
    old_auth = pids(arena, "auth")
    arena.proxy.sighup()
    wait_until("the new auth is there", lambda: pids(arena, "auth") - old_auth)
    wait_until("the old auth has left", lambda: not pids(arena, "auth") & old_auth)
    assert echoes(session)
    session.close()


def test_a_reload_refuses_no_connect(new_whole_arena: NewArena) -> None:
    """F12: logins that fall into reloads all succeed."""
    arena = new_whole_arena("login_processes_count = 2")
    replies: list[bytes] = []
    is_over = threading.Event()

    def log_in_on_and_on() -> None:
        while not is_over.is_set():
            replies.append(try_login(arena))

    threads = [threading.Thread(target=log_in_on_and_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(5):
        before = pids(arena, "auth")
        arena.proxy.sighup()
        wait_until("auth is new", lambda before=before: not pids(arena, "auth") & before)  # type: ignore[misc]
        arena.proxy.wait_log(STARTED, number + 1)
    is_over.set()
    for thread in threads:
        thread.join()
    assert len(replies) > 50
    assert [reply for reply in replies if not reply.startswith(b"a1 OK ")] == []


def test_new_workers_never_ask_the_old_auth(new_arena: NewArena) -> None:
    """F12: whoever is greeted with the new words is judged by the new rules."""
    arena = new_arena("login_processes_count = 4")
    rules = arena.proxy.sql.read_text()
    for number in range(3):
        old = "login_processes_count = 4" if number == 0 else f"login_greeting = Words {number - 1}."
        text = f"login_greeting = Words {number}."
        replace_in_configuration(arena, old, f"login_processes_count = 4\n{text}" if number == 0 else text)
        reason = f"Rules {number}."
        changed = rules.replace("'Y' AS proxy", f"'Y' AS nologin, '{reason}' AS reason")
        assert changed != rules
        arena.proxy.sql.write_text(changed)
        arena.proxy.sighup()
        judged = 0

        def is_judged(words: bytes = text.split(" = ")[1].encode(), reason: bytes = reason.encode()) -> bool:
            nonlocal judged
            client = arena.client()
            reply = client.ask(b"a1 LOGIN guest %s\r\n" % Arena.GUEST)
            client.close()
            if words in client.greeting:
                assert reason in reply, reply
                judged += 1
            return judged >= 20

        wait_until("the new workers have judged", is_judged, 30)


@pytest.mark.usefixtures("whole")
def test_a_client_in_the_middle_of_his_login_finishes_it(arena: Arena) -> None:
    """F12: the old worker keeps those who are there, with the auth that they began with."""
    client = arena.client()
    old_auth = pids(arena, "auth")
    arena.proxy.sighup()
    wait_until("the new auth is there", lambda: pids(arena, "auth") - old_auth)
    assert client.ask(b"a LOGIN guest %s\r\n" % arena.GUEST).startswith(b"a OK ")
    assert echoes(client)
    client.close()
    wait_until("the old auth has left", lambda: not pids(arena, "auth") & old_auth)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("auth_debug = no", "no_such_setting = 1", ": Unknown setting: no_such_setting"),
        ("auth_debug = no", "login_processes_count = x", "Error in configuration file "),
        ("auth_debug = no", "login_user = no-such-user", "no-such-user"),
        ("  user = nobody\n", "  user = no-such-user\n", "no-such-user"),
        ("protocols = imap pop3", "protocols = imap {", ""),
        ("base_dir = ", "base_dir = /tmp/elsewhere", ""),
        ("log_path = ", "log_path = /no/such/folder/", "Can't write to log directory /no/such/folder"),
    ],
)
def test_a_broken_file_changes_nothing(new_arena: NewArena, old: str, new: str, said: str) -> None:
    """F11: the same processes go on; the log says what is wrong and where."""
    arena = new_arena()
    session = guest(arena)
    before = {process.pid for process in arena.proxy.processes()}
    replace_in_configuration(arena, old, new)
    arena.proxy.sighup()
    arena.proxy.wait_log(f"Warning: {REFUSED}")
    assert said in arena.proxy.log_text()
    assert "Error: " in arena.proxy.log_text()
    assert {process.pid for process in arena.proxy.processes()} == before
    assert echoes(session)
    assert try_login(arena).startswith(b"a1 OK ")
    session.close()


@pytest.mark.usefixtures("whole")
def test_a_broken_sql_file_changes_nothing(arena: Arena) -> None:
    """F11: the new auth cannot start, so the old one stays."""
    session = guest(arena)
    old_auth = pids(arena, "auth")
    good = arena.proxy.sql.read_text()
    arena.proxy.sql.write_text("driver = nothing\n")
    arena.proxy.sighup()
    arena.proxy.wait_log(f"Warning: {REFUSED}")
    assert pids(arena, "auth") == old_auth
    assert try_login(arena).startswith(b"a1 OK ")
    assert echoes(session)
    arena.proxy.sql.write_text(good)
    arena.proxy.sighup()
    wait_until("the mended file is in use", lambda: pids(arena, "auth") - old_auth)
    assert try_login(arena).startswith(b"a1 OK ")
    session.close()


def test_listeners_come_and_go(arena: Arena) -> None:
    """F12: an address that is dropped is free at once, and its sessions live on."""
    proxy = arena.proxy
    session = guest(arena)
    old_port, new_port = proxy.imap_port, free_port()
    replace_in_configuration(arena, f"listen = 127.0.0.1:{old_port}", f"listen = 127.0.0.1:{new_port}")
    proxy.sighup()
    wait_until("the new address serves", lambda: greets(new_port))
    wait_until("the old address is free", lambda: not connects(old_port))
    assert greets(proxy.pop3_port)
    assert echoes(session)
    proxy.imap_port = new_port
    assert try_login(arena).startswith(b"a1 OK ")
    replace_in_configuration(arena, f"127.0.0.1:{new_port}", f"127.0.0.1:{old_port}")
    proxy.sighup()
    proxy.imap_port = old_port
    wait_service(arena)
    session.close()


@pytest.mark.parametrize("why", ["busy", "broken"])
def test_a_refused_reload_opens_no_address(new_arena: NewArena, why: str) -> None:
    """F11: neither when another address is taken, nor when auth does not start."""
    arena = new_arena()
    new_port = free_port()
    listen = f"listen = 127.0.0.1:{arena.proxy.imap_port}"
    taken = f"127.0.0.1:{arena.imap.port}" if why == "busy" else ""
    replace_in_configuration(arena, listen, f"{listen} 127.0.0.1:{new_port} {taken}")
    if why == "broken":
        arena.proxy.sql.write_text("driver = nothing\n")
    arena.proxy.sighup()
    arena.proxy.wait_log(REFUSED)
    if why == "busy":
        assert f"Error: listen({taken}) failed: Address already in use" in arena.proxy.log_text()
    assert not connects(new_port)
    assert try_login(arena).startswith(b"a1 OK ")


@pytest.mark.skipif(os.geteuid() != 0, reason="the master's channels are open to root alone")
def test_a_worker_that_took_no_orders_is_told_later(new_arena: NewArena) -> None:
    """By the master, of himself: otherwise it would accept clients for a configuration of before."""
    arena = new_arena(MODES["shared"], "login_processes_count = 1")
    session = guest(arena)
    (old,) = pids(arena, "imap-login")
    os.kill(old, signal.SIGSTOP)
    wait_until("it has stopped", lambda: psutil.Process(old).status() == psutil.STATUS_STOPPED)
    ping = render_order(Order.PING)
    for fd in borrow_channels(arena.proxy.pid):
        with socket.socket(fileno=fd) as channel, contextlib.suppress(OSError):
            for _ in range(1000):
                channel.send(ping, socket.MSG_DONTWAIT)
    arena.proxy.sighup()
    wait_until("a new worker is there", lambda: pids(arena, "imap-login") - {old})
    os.kill(old, signal.SIGCONT)
    session.close()
    wait_until("the old worker has left", lambda: old not in pids(arena, "imap-login"))


def test_a_storm_of_reloads(new_whole_arena: NewArena) -> None:
    """F10: two hundred in a second end in one full set, with no session lost."""
    arena = new_whole_arena("login_processes_count = 3")
    session = guest(arena)
    for _ in range(200):
        arena.proxy.sighup()
        time.sleep(0.005)  # the storm's pace
    last = arena.proxy.log_text().count(STARTED)
    assert last <= 200

    def is_one_set() -> bool:
        carrying = 1  # the old worker with the session, and its auth
        return (
            len(pids(arena, "auth")) <= 1 + carrying
            and len(pids(arena, "imap-login")) == 3 + carrying
            and len(pids(arena, "pop3-login")) == 3
        )

    wait_until("one full set of processes", is_one_set)
    assert echoes(session)
    session.close()
    wait_until("and nobody of older generations", lambda: len(arena.proxy.processes()) == 1 + 1 + 6)
    assert try_login(arena).startswith(b"a1 OK ")
