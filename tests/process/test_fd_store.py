"""A service manager that keeps descriptors, as sd_notify(3) describes it: a restart loses no session."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.arena import Arena
from tests.harness.folder import open_folder
from tests.harness.proxy import HOST
from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.process.look import echoes, guest, pids, run_ctl, try_login
from tests.process.test_certificate_files import TlsArena
from tests.process.test_upgrade import Stream, counted

# Plays the manager's last step: asks it for what it keeps, puts that at 3 and on, becomes mailproxy.
START = """
import os, socket, sys
names, fds = [], []
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
    sock.connect({path!r})
    while True:
        data, some, _, _ = socket.recv_fds(sock, 4096, 1)
        if not data:
            break
        names.append(data.decode())
        fds += some
high = [os.dup2(fd, 3000 + number) for number, fd in enumerate(fds)]
for fd in fds:
    os.close(fd)
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
    os.close(fd)
if names:
    os.environ |= dict(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names)))
    os.environ["LISTEN_FDNAMES"] = ":".join(names)
os.execv(sys.executable, [sys.executable, "-m", "mailproxy.cli", *sys.argv[1:]])
"""
LIMIT = 120
"""How many descriptors the store takes."""


class Store:
    """Keeps what it is given, each file once, and passes it to whoever asks at `ask_path`."""

    def __init__(self, folder: Path) -> None:
        self.notify_path, self.ask_path = str(folder / "notify"), str(folder / "ask")
        self.kept: list[tuple[str, int]] = []
        self.said: list[dict[str, str]] = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(self.notify_path)
        self._asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._asked.bind(self.ask_path)
        self._asked.listen()
        self._is_over = False
        self._threads = [threading.Thread(target=self._hear), threading.Thread(target=self._answer)]
        for sock in (self._notify, self._asked):
            sock.settimeout(0.1)
        for thread in self._threads:
            thread.start()

    def _hear(self) -> None:
        while not self._is_over:
            with contextlib.suppress(TimeoutError):
                data, fds, _, _ = socket.recv_fds(self._notify, 4096, 253)
                said = dict(line.split("=", 1) for line in data.decode().split("\n"))
                self.said.append(said)
                if said.get("FDSTORE") == "1" and said.get("FDPOLL") == "0":
                    self._keep(said["FDNAME"], fds)
                    continue
                if said.get("FDSTOREREMOVE") == "1":
                    self._remove(said["FDNAME"])
                # A barrier is over when its descriptor is closed.
                _close(fds)

    def _keep(self, name: str, fds: list[int]) -> None:
        for fd in fds:
            if len(self.kept) < LIMIT and _file(fd) not in [_file(other) for _, other in self.kept]:
                self.kept.append((name, fd))
            else:
                os.close(fd)

    def _remove(self, name: str) -> None:
        removed = [fd for other, fd in self.kept if other == name]
        self.kept = [(other, fd) for other, fd in self.kept if other != name]
        _close(removed)

    def _answer(self) -> None:
        while not self._is_over:
            with contextlib.suppress(TimeoutError):
                asker, _ = self._asked.accept()
                with asker:
                    for name, fd in list(self.kept):
                        socket.send_fds(asker, [name.encode()], [fd])

    def drop_all(self) -> None:
        """As after a stop that was no restart."""
        _close([fd for _, fd in self.kept])
        self.kept = []

    def close(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()
        self.drop_all()
        self._notify.close()
        self._asked.close()


def _file(fd: int) -> tuple[int, int, int]:
    """Whatever has the same one is the same file to the manager."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with open_folder("store") as folder:
        store = Store(folder)
        monkeypatch.setenv("NOTIFY_SOCKET", store.notify_path)
        monkeypatch.setenv("FDSTORE", str(LIMIT))
        yield store
        store.close()


def managed(store: Store, mode: str = MODES["shared"]) -> Arena:
    """An arena whose proxy is started with what the store has."""
    arena = Arena("\n".join(("auth_debug = no", "login_processes_count = 2", mode)))
    arena.proxy.program = ["-c", START.format(path=store.ask_path)]
    return arena


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_a_restart_loses_nothing(store: Store, mode: str) -> None:
    """F12: idle and busy sessions, counters, and a connect while no process is there."""
    with managed(store, mode) as arena:
        idle = [guest(arena, "imap" if number % 4 else "pop3") for number in range(40)]
        busy = [Stream(guest(arena), number) for number in range(6)]
        for stream in busy:
            stream.start()
        before: set[int] = set()
        for _ in range(2):
            before |= {process.pid for process in arena.proxy.processes()}
            assert arena.proxy.stop() == 0
            wait_until("nobody is left", lambda: not arena.proxy.processes())
            # Both ports, the state, and two for each session.
            assert len(store.kept) == 2 + 1 + 2 * 46
            with socket.create_connection((HOST, arena.proxy.imap_port), 5) as early:
                arena.proxy.start()
                assert early.recv(500).startswith(b"* OK ")
            assert all(echoes(client) for client in idle)
            wait_until("the store is empty", lambda: store.kept == [])
        assert not before & {process.pid for process in arena.proxy.processes()}
        for stream in busy:
            stream.is_over.set()
        for stream in busy:
            stream.finish()
        for stream in busy:
            wait_until("it is logged", lambda stream=stream: counted(arena, stream.sent_bytes))  # type: ignore[misc]
        assert run_ctl(arena, "who").count("guest") == 40
        for client in idle:
            client.close()
        wait_until("all are logged", lambda: counted(arena, len(b"still there?") * 2) == 40)
        assert not arena.proxy.log_contains("Error: ")
        assert not arena.proxy.log_contains("Warning: The service manager passed")


def test_a_slow_reader_gets_every_byte(store: Store) -> None:
    """F12: what waits for him in a pipe of ours is kept too."""
    with managed(store) as arena:
        slow = guest(arena)
        data = hashlib.shake_256(b"slow").digest(24 << 20)
        sender = threading.Thread(target=slow.send, args=(data,))
        sender.start()
        wait_until("a pipe is full", lambda: pipes_held(arena) > 0)
        arena.proxy.stop()
        arena.proxy.start()
        got = slow.take(len(data))
        sender.join(30)
        assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
        slow.close()
        wait_until("it is logged", lambda: counted(arena, len(data)) == 1)


def pipes_held(arena: Arena) -> int:
    """Count pipes that workers have besides the one to the log."""
    found = 0
    for pid in pids(arena, "imap-login"):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found += fd.readlink().name.startswith("pipe:") and int(fd.name) > 2
    return found


def test_a_stop_that_is_no_restart(store: Store) -> None:
    """F13: the manager closes what it has; the next start knows nothing of it."""
    with managed(store) as arena:
        session = guest(arena)
        arena.proxy.stop()
        store.drop_all()
        assert session.line() == b""
        arena.proxy.start()
        assert try_login(arena).startswith(b"a1 OK ")
        session.close()


def test_more_sessions_than_the_store_takes(store: Store) -> None:
    """As many as fit come back; the others end, and the log says how many."""
    with managed(store) as arena:
        sessions = [guest(arena) for _ in range(60)]
        arena.proxy.stop()
        arena.proxy.wait_log("Warning: 2 sessions are lost: FileDescriptorStoreMax of the unit is too small")
        arena.proxy.start()
        alive = 0
        for session in sessions:
            with contextlib.suppress(ConnectionError):
                alive += session.ask(b"still there?\n") == b"still there?"
            session.close()
        assert alive == (LIMIT - 2 - 1) // 2


def test_garbage_in_the_store_is_harmless(store: Store) -> None:
    """V14: what belongs to no session is closed, with one line, and is not kept on."""
    with managed(store) as arena:
        session = guest(arena)
        arena.proxy.stop()
        ours, theirs = socket.socketpair()
        pipe_fd, other_fd = os.pipe()
        os.close(other_fd)
        states = [os.memfd_create("state") for _ in range(2)]
        os.write(states[0], b"mailproxy relays 1\n" + b"x" * 100)
        with ours:
            store.kept += [
                *(("mailproxy-session", theirs.detach()), ("mailproxy-session", pipe_fd)),
                *(("mailproxy-state", states[0]), ("mailproxy-state", states[1])),
                *(("mailproxy-state", os.open("/dev/null", os.O_RDWR)), ("else", os.memfd_create("else"))),
            ]
            arena.proxy.start()
            said = "Warning: 3 descriptors of the service manager's store are of no use; closed"
            arena.proxy.wait_log(said)
            assert echoes(session)
            wait_until("it is let go", lambda: [name for name, _ in store.kept] == ["else"])
            assert ours.recv(1) == b""
        session.close()


def test_sessions_with_tls_do_not_hold_a_restart_up(store: Store) -> None:
    """F13: with `shutdown_clients = no` they stay with their processes, for `shutdown_grace`."""
    with TlsArena(MODES["shared"], "shutdown_clients = no", "shutdown_grace = 4") as arena:
        session, plain = arena.connect(), guest(arena)
        session.sendall(b"a LOGIN guest %s\r\n" % arena.GUEST)
        assert session.recv(500).startswith(b"a OK ")
        arena.proxy.program = ["-c", START.format(path=store.ask_path)]
        arena.proxy.stop()
        session.sendall(b"still there?")
        assert session.recv(12) == b"still there?"
        arena.proxy.start()
        assert echoes(plain)
        session.settimeout(15)
        assert session.recv(1) == b""
        plain.close()
        session.close()


def test_without_a_store_nothing_is_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FDSTORE")
    with managed(store) as arena:
        session = guest(arena)
        arena.proxy.stop()
        assert session.line() == b""
        assert not [said for said in store.said if "FDSTORE" in said]
        session.close()


def test_two_restarts_in_a_row(store: Store) -> None:
    """F12: the second one finds sessions that no worker has taken yet."""
    with managed(store) as arena:
        sessions = [guest(arena) for _ in range(50)]
        for _ in range(3):
            arena.proxy.stop()
            arena.proxy.start(wait=False)
            wait_until("they are fed", lambda: store.kept == [])
        assert all(echoes(session) for session in sessions)
        for session in sessions:
            session.close()
