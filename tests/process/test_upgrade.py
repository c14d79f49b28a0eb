"""A new version takes over: no session, no byte and no connect is lost."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from tests.harness.arena import Arena
from tests.harness.proxy import CHECKOUT
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, echoes, guest, pids, run_ctl, try_login
from tests.process.test_certificate_files import TlsArena

ALL = {"imap-login": 2, "pop3-login": 2, "auth": 1}


class Stream(threading.Thread):
    """A busy session: its bytes come back from the backend, and the hashes of both ways are compared."""

    def __init__(self, client: RawClient, seed: int) -> None:
        super().__init__()
        self.client = client
        self.piece = hashlib.shake_256(b"%d" % seed).digest(70_001)
        self.sent, self.got = hashlib.sha256(), hashlib.sha256()
        self.sent_bytes = 0
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.is_set():
            self.client.send(self.piece)
            self.sent.update(self.piece)
            self.sent_bytes += len(self.piece)
            self.got.update(self.client.take(len(self.piece)))

    def finish(self) -> None:
        self.is_over.set()
        self.join(30)
        assert self.sent.digest() == self.got.digest()
        self.client.close()


class Connects(threading.Thread):
    """Logs in again and again."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self.arena = arena
        self.replies: list[bytes] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.is_set():
            self.replies.append(try_login(self.arena))

    def finish(self) -> None:
        self.is_over.set()
        self.join(30)
        assert self.replies
        assert [reply for reply in self.replies if not reply.startswith(b"a1 OK ")] == []


def roles(arena: Arena) -> dict[str, int]:
    return {role: len(pids(arena, role)) for role in ("imap-login", "pop3-login", "auth")}


def descriptors(arena: Arena) -> int:
    """How many the master has."""
    return psutil.Process(arena.proxy.pid).num_fds()


def counted(arena: Arena, echoed_bytes: int) -> int:
    """Count sessions that the log says to have ended with this many bytes each way, a greeting aside."""
    found = re.findall(r"Disconnected by client, in=(\d+), out=(\d+)", arena.proxy.log_text())
    return sum(int(up) == echoed_bytes and 0 <= int(down) - echoed_bytes < 20 for up, down in found)


def has_left(arena: Arena, pid: int) -> bool:
    return pid not in {process.pid for process in arena.proxy.processes()}


def go_through(arena: Arena, upgrades: int, idle_count: int, busy_count: int) -> None:
    """Upgrade again and again under load, and look at everything afterwards."""
    idle = [guest(arena, "imap" if number % 4 else "pop3") for number in range(idle_count)]
    busy = [Stream(guest(arena), number) for number in range(busy_count)]
    connects = Connects(arena)
    threads: list[Stream | Connects] = [*busy, connects]
    for thread in threads:
        thread.start()
    try:
        for _ in range(upgrades):
            old = arena.proxy.replace_master()
            wait_until("the old master has left", lambda old=old: has_left(arena, old))  # type: ignore[misc]
            assert all(echoes(client) for client in idle)
    finally:
        for thread in threads:
            thread.is_over.set()
    for thread in threads:
        thread.finish()
    for client in idle:
        client.close()
    for stream in busy:
        wait_until("it is logged", lambda stream=stream: counted(arena, stream.sent_bytes))  # type: ignore[misc]
    echoed_bytes = len(b"still there?") * upgrades
    wait_until("all are logged", lambda: counted(arena, echoed_bytes) == idle_count)
    assert not arena.proxy.log_contains("Error: ")


def test_nothing_is_lost(arena: Arena) -> None:
    """F12: idle and busy sessions, logins meanwhile, counters; and the tree is the same afterwards."""
    wait_until("all are there", lambda: roles(arena) == ALL)
    before = descriptors(arena)
    go_through(arena, upgrades=2, idle_count=40, busy_count=6)
    wait_until("the same roles", lambda: roles(arena) == ALL)
    # Not more: a child that had just ended may have been counted before.
    wait_until("the same descriptors", lambda: descriptors(arena) <= before)
    assert len(arena.proxy.processes()) == 6


# A new version that does not work, each in its own way; the running one began as this program too.
BROKEN = """
import os, signal, sys
from mailproxy import cli
from mailproxy.process import login, predecessor, successor
successor._READY_S = {patience_s}
if "MAILPROXY_PREDECESSOR_FD" in os.environ:
    {fault}
sys.exit(cli.main())
"""
FAULTS = {
    "hangs": ("signal.pause()", "the new master was not ready within 2 s"),
    "dies": ("os._exit(3)", "the new master ended before it was ready"),
    "workers die": ("login.Worker.run = lambda *_: sys.exit(3)", "(login) ended before it was ready"),
    "says nothing": ("predecessor.Predecessor.say_ready = lambda *_: None", "not ready within 2 s"),
}
KEPT = "Upgrade failed, keeping the running version"


def everything_is_as_before(arena: Arena, before: set[int], session: RawClient) -> None:
    arena.proxy.wait_log(KEPT)
    wait_until("the same processes", lambda: {process.pid for process in arena.proxy.processes()} == before)
    assert (arena.proxy.base_dir / "master.pid").read_text() == f"{arena.proxy.pid}\n"
    assert sorted(path.name for path in arena.proxy.base_dir.rglob("*")) == [
        *("control", "default", "login", "master.pid")
    ]
    assert echoes(session)
    assert try_login(arena).startswith(b"a1 OK ")
    session.close()


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_version_that_does_not_work(new_arena: NewArena, fault: str) -> None:
    """F11: the running one goes on unchanged, the log says why, and a good one is taken afterwards."""
    arena = new_arena("login_processes_count = 2")
    code, said = FAULTS[fault]
    arena.proxy.stop()
    # Short where it is waited for; where it is not a busy machine may take long.
    patience_s = 2.0 if "within 2 s" in said else 60.0
    arena.proxy.program = ["-c", BROKEN.format(fault=code, patience_s=patience_s)]
    arena.proxy.start()
    wait_until("all are there", lambda: roles(arena) == ALL)
    before = {process.pid for process in arena.proxy.processes()}
    session = guest(arena)
    os.kill(arena.proxy.pid, signal.SIGUSR2)
    arena.proxy.wait_log("Upgrade failed: ")
    assert said in arena.proxy.log_text()
    everything_is_as_before(arena, before, session)
    # Whoever is born now finds the auth of this version under its name.
    for pid in pids(arena, "imap-login"):
        os.kill(pid, signal.SIGKILL)
    wait_until("logins work", lambda: try_login(arena).startswith(b"a1 OK "))


@pytest.mark.parametrize("what", ["setting", "base_dir", "passdb", "address"])
def test_a_configuration_that_does_not_work(arena: Arena, what: str) -> None:
    """F11: the new master refuses it in the words of a start."""
    text, sql = arena.proxy.configuration.read_text(), arena.proxy.sql.read_text()
    listen = f"listen = 127.0.0.1:{arena.proxy.imap_port}"
    base_dir = f"base_dir = {arena.proxy.base_dir}"
    broken, said = {
        "setting": (text + "no_such_setting = 1\n", "Unknown setting: no_such_setting"),
        "base_dir": (text.replace(base_dir, base_dir + "2"), "base_dir can't be changed by an upgrade"),
        "passdb": (text, r"\(auth\) ended before it was ready"),
        "address": (text.replace(listen, f"{listen} 127.0.0.1:{arena.imap.port}"), "Address already in use"),
    }[what]
    wait_until("all are there", lambda: roles(arena) == ALL)
    arena.proxy.configuration.write_text(broken)
    if what == "passdb":
        arena.proxy.sql.write_text("driver = nothing\n")
    before = {process.pid for process in arena.proxy.processes()}
    os.kill(arena.proxy.pid, signal.SIGUSR2)
    arena.proxy.wait_log(KEPT)
    assert re.search(f"Error: Upgrade failed: .*{said}", arena.proxy.log_text())
    arena.proxy.configuration.write_text(text)
    arena.proxy.sql.write_text(sql)
    everything_is_as_before(arena, before, guest_of(arena, before))


def guest_of(arena: Arena, before: set[int]) -> RawClient:
    """Log in where each login may cost a process, and count those that are there then."""
    session = guest(arena)
    wait_until("all are there again", lambda: len(arena.proxy.processes()) >= len(before))
    before.clear()
    before.update(process.pid for process in arena.proxy.processes())
    return session


def test_a_login_under_way_is_finished_and_handed_over(arena: Arena) -> None:
    """F12: the old worker ends it with the auth it began with; then nothing of the old version is left."""
    before = {process.pid for process in arena.proxy.processes()}
    client, popper = arena.client(), arena.client("pop3")
    assert popper.ask(b"USER guest\r\n") == b"+OK"
    arena.proxy.replace_master()
    assert client.ask(b"a LOGIN guest %s\r\n" % arena.GUEST).startswith(b"a OK ")
    assert popper.ask(b"PASS %s\r\n" % arena.GUEST).startswith(b"+OK")
    wait_until(
        "the old version has left", lambda: not before & {process.pid for process in arena.proxy.processes()}
    )
    assert echoes(client)
    assert echoes(popper)
    client.close()
    popper.close()


@pytest.mark.parametrize("mode", list(MODES))
def test_a_stop_while_sessions_are_on_their_way(new_arena: NewArena, mode: str) -> None:
    """F12, F13: what the new workers have not taken yet is nobody else's when they are told to leave."""
    arena = new_arena(MODES[mode], "login_processes_count = 2", "shutdown_clients = no")
    sessions = [guest(arena) for _ in range(60)]
    arena.proxy.replace_master()
    os.kill(arena.proxy.pid, signal.SIGTERM)
    assert all(echoes(session) for session in sessions)
    arena.proxy.stop()
    for session in sessions:
        session.close()


def test_sessions_with_tls_stay_where_they_are(tls_arena: TlsArena) -> None:
    """F12: for `shutdown_grace`; the old master watches over them and reopens its log with the new one."""
    session = tls_arena.connect()
    session.sendall(b"a LOGIN guest %s\r\n" % tls_arena.GUEST)
    assert session.recv(500).startswith(b"a OK ")
    plain = guest(tls_arena)
    old = tls_arena.proxy.replace_master()
    # A service manager wants to be told of its end, and not only once the old one has gone.
    assert psutil.Process(tls_arena.proxy.pid).ppid() != old
    assert echoes(plain)
    session.sendall(b"still there?")
    assert session.recv(12) == b"still there?"
    rotated = tls_arena.proxy.folder / "log.1"
    tls_arena.proxy.log.rename(rotated)
    os.kill(tls_arena.proxy.pid, signal.SIGUSR1)
    wait_until("the new log is there", tls_arena.proxy.log.exists)
    assert not has_left(tls_arena, old)
    session.settimeout(15)
    assert session.recv(1) == b""
    wait_until("the old master has left", lambda: has_left(tls_arena, old))
    tls_arena.proxy.wait_log("(Disconnected by proxy, in=12, ")
    assert echoes(plain)
    plain.close()
    session.close()


def test_a_stop_ends_the_sessions_of_the_version_before(tls_arena: TlsArena) -> None:
    """F13: nothing is left behind, whichever master looks after it."""
    session = tls_arena.connect()
    session.sendall(b"a LOGIN guest %s\r\n" % tls_arena.GUEST)
    assert session.recv(500).startswith(b"a OK ")
    tls_arena.proxy.replace_master()
    tls_arena.proxy.stop()
    assert tls_arena.proxy.processes() == []
    assert session.recv(1) == b""
    session.close()


@pytest.fixture
def tls_arena() -> Iterator[TlsArena]:
    with TlsArena("login_process_per_connection = no", "shutdown_grace = 3") as arena:
        yield arena


def test_as_many_sessions_as_processes(new_arena: NewArena) -> None:
    """F12: where each costs a process and all are taken, every session finds one in the new version too."""
    arena = new_arena(
        *("login_process_per_connection = yes", "login_processes_count = 1", "login_max_processes_count = 6")
    )
    sessions = [guest(arena) for _ in range(6)]
    old = arena.proxy.replace_master()
    wait_until("the old master has left", lambda: has_left(arena, old))
    assert all(echoes(session) for session in sessions)
    for session in sessions:
        session.close()
    wait_until("a fresh login works", lambda: try_login(arena).startswith(b"a1 OK "))


def test_the_old_master_is_killed_in_the_middle(new_arena: NewArena) -> None:
    """F05: the new one finds the lock in its hands, and serves."""
    arena = new_arena()
    arena.proxy.stop()
    arena.proxy.program = ["-c", BROKEN.format(fault=FAULTS["says nothing"][0], patience_s=2.0)]
    arena.proxy.start()
    os.kill(arena.proxy.pid, signal.SIGUSR2)
    wait_until("the new one is up", lambda: arena.proxy.log_text().count("starting up") == 3)
    os.kill(arena.proxy.pid, signal.SIGKILL)
    arena.proxy.follow()
    wait_until("a fresh login works", lambda: try_login(arena).startswith(b"a1 OK "))
    second = [sys.executable, "-m", "mailproxy.cli", "-F", "-c", str(arena.proxy.configuration)]
    done = subprocess.run(second, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert f"already running with PID {arena.proxy.pid} " in done.stderr


def test_sessions_are_spread_over_the_new_workers(new_arena: NewArena) -> None:
    """X15: none has more than twice its share."""
    arena = new_arena("login_processes_count = 4")
    sessions = [guest(arena) for _ in range(80)]
    old = arena.proxy.replace_master()
    wait_until("the old master has left", lambda: has_left(arena, old))
    assert all(echoes(session) for session in sessions)
    found = carriers(arena, sessions)
    assert max(found.count(pid) for pid in found) <= 40
    for session in sessions:
        session.close()


def test_process_1_says_why_not(new_arena: NewArena) -> None:
    """As in a container: the reason is printed and logged, and the service goes on."""
    arena = new_arena()
    arena.proxy.stop()
    arena.proxy.program = [
        "-c",
        "import os, sys; os.getpid = lambda: 1; from mailproxy import cli; cli.main()",
    ]
    arena.proxy.start()
    session = guest(arena)
    assert "process 1 of a container can't be replaced" in run_ctl(arena, "upgrade", status=1)
    arena.proxy.wait_log("Upgrade refused: process 1 of a container can't be replaced")
    assert echoes(session)
    session.close()
