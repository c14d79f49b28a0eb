"""Several auth processes for one section."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import signal
from base64 import b64decode

import pytest

from tests.harness.arena import Arena
from tests.harness.raw_client import b64, plain
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import pids, wait_service
from tests.process.test_reload import replace_in_configuration

USERS = [b"u%d" % number for number in range(12)]
SHARED = "auth_count = 3\nauth_cache_size = 1024\n"


def start(new_arena: NewArena, *settings: str) -> Arena:
    arena = new_arena(SHARED, *settings)
    for user in USERS:
        arena.add(user.decode(), arena.GUEST.decode(), arena.house_imap.port, arena.house_pop3.port)
    return arena


def homes(arena: Arena) -> dict[str, int]:
    """Return the processes of the section by name."""
    return {
        process.cmdline()[0].removeprefix("mailproxy: "): process.pid
        for process in arena.proxy.children("auth")
    }


def hits(arena: Arena) -> list[tuple[int, int]]:
    """Ask each process for its cache's hits and lookups since the last time."""
    seen = arena.proxy.log_text().count("Authentication cache hits")
    for pid in pids(arena, "auth"):
        os.kill(pid, signal.SIGUSR2)
    arena.proxy.wait_log("Authentication cache hits", seen + 3)
    found = re.findall(r"Authentication cache hits (\d+)/(\d+)", arena.proxy.log_text())
    return [(int(hit), int(lookup)) for hit, lookup in found[seen:]]


@pytest.mark.parametrize("mode", MODES)
def test_each_user_is_in_one_cache(new_arena: NewArena, mode: str) -> None:
    """Whichever worker and protocol he comes by, and however his name is written."""
    arena = start(new_arena, MODES[mode], "login_processes_count = 2")
    assert set(homes(arena)) == {"auth(default)", "auth(default.2)", "auth(default.3)"}
    for user in USERS:
        arena.login("imap", user, arena.GUEST).close()
    first = hits(arena)
    assert sum(lookup for _, lookup in first) == len(USERS)
    assert sum(hit for hit, _ in first) == 0
    assert all(lookup for _, lookup in first)
    for user in USERS:
        arena.login("imap", user, arena.GUEST).close()
        arena.login("imap", user, arena.GUEST).close()
    again = hits(arena)
    assert sum(hit for hit, _ in again) == sum(lookup for _, lookup in again) == 2 * len(USERS)
    arena.check()


def test_one_that_is_stopped_takes_only_its_own_users_along(new_arena: NewArena) -> None:
    """The others log in as ever, and new workers become ready; when it is killed it is back at once."""
    arena = start(new_arena, MODES["own"], "login_processes_count = 2")
    victim = homes(arena)["auth(default.2)"]
    os.kill(victim, signal.SIGSTOP)
    try:
        clients = {user: arena.client() for user in USERS}
        for user, client in clients.items():
            client.send(b"a LOGIN %s %s\r\n" % (user, arena.GUEST))
        waiting: set[bytes] = set()
        for user, client in clients.items():
            if client.is_silent(1.0 if not waiting else 0.2):
                waiting.add(user)
            else:
                assert client.line().startswith(b"a OK ")
        assert 0 < len(waiting) < len(USERS)
    finally:
        os.kill(victim, signal.SIGKILL)
    for user in waiting:
        assert clients[user].line().startswith((b"a OK ", b"a NO [UNAVAILABLE] "))
    wait_until("it is back", lambda: homes(arena).get("auth(default.2)", victim) != victim)
    for user in USERS:
        assert clients[user].socket.fileno() >= 0
        arena.login("imap", user, arena.GUEST).close()
        clients[user].close()
    assert len(pids(arena, "auth")) == 3


def test_exchanges_stay_with_the_process_that_they_began_with() -> None:
    """CRAM-MD5 and APOP name the user last, so anybody may serve him; its challenge is known to one alone."""
    settings = f"{SHARED}login_processes_count = 1"
    with contextlib.closing(Arena(settings, mechanisms="plain cram-md5 apop")) as arena:
        word = arena.GUEST.decode()
        arena.add("pat", word, arena.house_imap.port, arena.house_pop3.port, pass_=word)
        arena.start()
        for _ in range(7):
            with arena.client() as client:
                challenge = client.ask(b"a AUTHENTICATE CRAM-MD5\r\n").removeprefix(b"+ ")
                digest = hmac.digest(arena.GUEST, b64decode(challenge), "md5").hex().encode()
                assert client.ask(b64(b"pat " + digest) + b"\r\n").startswith(b"a OK ")
            with arena.client("pop3") as client:
                # Another mechanism in between asks another process.
                assert client.ask(b"AUTH PLAIN %s\r\n" % plain(b"nobody", b"x")).startswith(b"-ERR")
                challenge = client.greeting.rpartition(b" ")[2]
                digest = hashlib.md5(challenge + arena.GUEST).hexdigest().encode()
                assert client.ask(b"APOP pat %s\r\n" % digest).startswith(b"+OK")
        arena.check()


def test_a_reload_changes_the_count(new_arena: NewArena) -> None:
    """Old processes go, and their sockets with them."""
    arena = start(new_arena, "login_processes_count = 2")
    folder = arena.proxy.base_dir / "login"
    for text, names in (
        ("auth_count = 1", {"default"}),
        ("auth_count = 2", {"default", "default.2"}),
    ):
        old = pids(arena, "auth")
        before = re.findall(r"auth_count = \d", arena.proxy.configuration.read_text())[0]
        replace_in_configuration(arena, before, text)
        arena.proxy.sighup()
        wait_until("others are there", lambda: len(pids(arena, "auth") - old) == len(names))  # noqa: B023
        wait_until("the old ones are gone", lambda: not pids(arena, "auth") & old)  # noqa: B023
        assert {entry.name for entry in folder.iterdir()} == names
        wait_service(arena)
        for user in USERS:
            arena.login("imap", user, arena.GUEST).close()
