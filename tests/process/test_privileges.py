"""What each process may do, seen in /proc."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path

import psutil
import pytest

from mailproxy.process.syscall_filter import program
from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import NewArena
from tests.process.look import guest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root's rights there are none to give up")
LOGIN = pwd.getpwnam("dovecot") if os.path.exists("/usr/sbin/dovecot") else pwd.getpwnam("nobody")


def status(process: psutil.Process) -> dict[str, list[str]]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}


def descriptors(process: psutil.Process) -> list[str]:
    """What each descriptor is, numbers left out."""
    found = []
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        target = os.readlink(f"/proc/{process.pid}/fd/{fd}")
        found.append(target.split(":")[0] if target.startswith(("socket:", "pipe:")) else target)
    return sorted(found)


def workers(arena: Arena) -> list[psutil.Process]:
    """Return the workers when those of earlier logins have left and all that were forked stand ready."""
    found: list[psutil.Process] = []

    def have_settled() -> bool:
        found[:] = arena.proxy.children("imap-login") + arena.proxy.children("pop3-login")
        return bool(found) and all(_is_ready(worker) for worker in found)

    wait_until("the workers have settled", have_settled)
    return found


def _is_ready(worker: psutil.Process) -> bool:
    """Whether it has given up root and holds its listener, its channel and auth, and no client."""
    try:
        has_left_root = status(worker)["Uid"][0] == str(LOGIN.pw_uid)
        return has_left_root and descriptors(worker).count("socket") == 3 and not _has_client(worker)
    except (OSError, psutil.Error):
        return False


def test_identities(arena: Arena) -> None:
    """V01, V13: no right of root is left, nor one to get it back."""
    (auth,) = arena.proxy.children("auth")
    nobody = pwd.getpwnam("nobody")
    for process, entry, groups in [
        *((worker, LOGIN, []) for worker in workers(arena)),
        (auth, nobody, [str(gid) for gid in os.getgrouplist("nobody", nobody.pw_gid)]),
    ]:
        found = status(process)
        assert found["Uid"] == [str(entry.pw_uid)] * 4
        assert found["Gid"] == [str(entry.pw_gid)] * 4
        assert found["Groups"] == groups
        for capabilities in ("CapInh", "CapPrm", "CapEff"):
            assert int(found[capabilities][0], 16) == 0


def test_no_new_rights(new_arena: NewArena) -> None:
    """V02, V08: set-uid programs give none, /proc is root's, and a worker has few system calls left."""
    arena = new_arena("login_processes_count = 2", "protocol pop3 {\n  login_seccomp = no\n}")
    found = workers(arena)
    for process in (*found, *arena.proxy.children("auth")):
        assert status(process)["NoNewPrivs"] == ["1"]
        assert os.stat(f"/proc/{process.pid}/mem").st_uid == 0, "a dumpable process owns its files in /proc"
    filtered = {worker.cmdline()[0].split()[-1]: status(worker)["Seccomp"] for worker in found}
    assert filtered == {"imap-login": ["2" if program() else "0"], "pop3-login": ["0"]}


def test_the_workers_root(arena: Arena) -> None:
    """V03: an unwritable directory that holds nothing but the way to auth."""
    login_dir = arena.proxy.base_dir / "login"
    for worker in workers(arena):
        assert os.readlink(f"/proc/{worker.pid}/root") == str(login_dir)
        assert os.readlink(f"/proc/{worker.pid}/cwd") == str(login_dir)
    assert [path.name for path in login_dir.iterdir()] == ["default"]
    found = login_dir.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, LOGIN.pw_gid, 0o750)


def test_descriptors_of_workers(new_arena: NewArena) -> None:
    """V05: listener, channel, auth, log, epoll, the signal pipe, its sessions; nothing else."""
    arena = new_arena("login_processes_count = 3")
    own = sorted(["/dev/null"] * 2 + ["anon_inode:[eventpoll]"] + ["pipe"] * 3 + ["socket"] * 3)
    for worker in workers(arena):
        wait_until("no client is left", lambda worker=worker: len(descriptors(worker)) <= len(own))  # type: ignore[misc]
        assert descriptors(worker) == own
    session = guest(arena)
    counts = sorted(len(descriptors(worker)) - len(own) for worker in arena.proxy.children("imap-login"))
    assert counts == [0, 0, 2]
    session.close()


def test_descriptors_of_a_process_with_one_session(new_arena: NewArena) -> None:
    """V05: it has let go of the listener and of auth."""
    arena = new_arena("login_process_per_connection = yes", "login_processes_count = 1")
    before: set[int] = set()

    def one_is_spare() -> bool:
        nonlocal before
        before = {worker.pid for worker in arena.proxy.children("imap-login") if not _has_client(worker)}
        return len(before) == 1

    wait_until("one process waits for a client", one_is_spare)
    session = guest(arena)
    (worker,) = [worker for worker in arena.proxy.children("imap-login") if worker.pid in before]
    expected = sorted(["/dev/null"] * 2 + ["anon_inode:[eventpoll]"] + ["pipe"] * 3 + ["socket"] * 3)
    wait_until("auth is let go", lambda: len(descriptors(worker)) <= len(expected))
    assert descriptors(worker) == expected
    connections = worker.net_connections("tcp4")
    assert sorted(c.status for c in connections) == [psutil.CONN_ESTABLISHED] * 2
    session.close()


def test_descriptors_of_auth(new_arena: NewArena) -> None:
    """V05: no file of the configuration, no pid lock, no listener for clients, no log file."""
    arena = new_arena()
    guest(arena).close()
    (auth,) = arena.proxy.children("auth")
    found = descriptors(auth)
    files = {name for name in found if name.startswith("/")} - {"/dev/null"}
    assert files <= {str(arena.path)}
    assert found.count("pipe") == 3
    assert auth.net_connections("tcp4") == []


def test_descriptors_do_not_grow_with_children(new_arena: NewArena) -> None:
    """V05: the last child that was forked holds no more than the first."""
    arena = new_arena("login_processes_count = 8")
    counts = {worker.pid: len(descriptors(worker)) for worker in workers(arena) if not _has_client(worker)}
    assert len(set(counts.values())) == 1, counts


def _has_client(worker: psutil.Process) -> bool:
    try:
        return any(connection.raddr for connection in worker.net_connections("tcp4"))
    except psutil.NoSuchProcess:
        return True  # It had one until now.


def test_limits_of_workers(arena: Arena) -> None:
    """V08, V09: no core file, no second process."""

    def are_limited() -> bool:
        return all(
            _limits(worker.pid)[name] == ["0", "0"]
            for worker in workers(arena)
            for name in ("Max core file size", "Max processes")
        )

    wait_until("workers that have just been forked are limited too", are_limited)


def _limits(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


def test_memory_of_a_sibling_is_closed(new_arena: NewArena) -> None:
    """V08: the same user does not open another worker's memory."""
    arena = new_arena("login_processes_count = 2")
    worker = workers(arena)[0]
    pid = os.fork()
    if pid == 0:
        status_ = 0
        try:
            os.setgroups([])
            os.setresgid(*[LOGIN.pw_gid] * 3)
            os.setresuid(*[LOGIN.pw_uid] * 3)
            os.close(os.open(f"/proc/{worker.pid}/mem", os.O_RDONLY))
        except OSError:
            status_ = 42
        finally:
            os._exit(status_)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_nothing_secret_in_titles_and_environments(arena: Arena) -> None:
    """V06."""
    session, seen = guest(arena), []
    for process in arena.proxy.processes():
        with contextlib.suppress(OSError):  # it may end while it is looked at
            names = ("cmdline", "environ", "comm")
            seen.append(b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in names))
    assert len(seen) >= len(["master", "auth", "imap-login", "pop3-login"])
    for words in seen:
        assert arena.GUEST not in words
        assert b"guest" not in words
    session.close()


def test_titles(new_arena: NewArena) -> None:
    """Each process says what it is; with verbose_proctitle also for whom."""
    arena = new_arena(
        "login_process_per_connection = yes", "login_processes_count = 1", "verbose_proctitle = yes"
    )

    def titles() -> list[str]:
        shown = []
        for process in arena.proxy.processes():
            with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                shown += process.cmdline()[:1]
        return sorted(shown)

    plain = [
        "mailproxy: auth(default)",
        "mailproxy: imap-login",
        "mailproxy: master",
        "mailproxy: pop3-login",
    ]
    wait_until("only the spare processes are left", lambda: titles() == plain)
    with RawClient(arena.proxy.imap_port):
        wait_until(
            "the client's address is in the title", lambda: "mailproxy: imap-login [127.0.0.1]" in titles()
        )


def test_modes_of_files(arena: Arena) -> None:
    """V10, V12: auth's socket is for the login group alone, the pid file and the log for root."""
    base_dir = arena.proxy.base_dir
    socket = (base_dir / "login" / "default").stat()
    assert (stat.S_IMODE(socket.st_mode), socket.st_uid, socket.st_gid) == (0o660, 0, LOGIN.pw_gid)
    assert stat.S_IMODE((base_dir / "master.pid").stat().st_mode) == 0o600
    assert stat.S_IMODE(arena.proxy.log.stat().st_mode) == 0o600
