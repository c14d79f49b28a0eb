"""Starting beside another master, as a daemon or as a plain user; rotating logs; the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import mailproxy
from tests.harness.arena import Arena
from tests.harness.proxy import CHECKOUT, START_S, Proxy
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import connects, echoes, greets, guest, pids, run_ctl, try_login

LINE = r"dovecot: [A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d "


def run(proxy: Proxy, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mailproxy.cli", "-c", str(proxy.configuration), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30)


def test_a_clean_end(arena: Arena) -> None:
    """F13: BYE before a login, FIN after it, status 0; no process, no socket file, no pid file."""
    base_dir = arena.proxy.base_dir
    assert (base_dir / "master.pid").read_text() == f"{arena.proxy.pid}\n"
    assert (base_dir / "login" / "default").is_socket()
    sessions = [guest(arena), guest(arena, "pop3")]
    idle = arena.client()
    assert arena.proxy.stop() == 0
    assert arena.proxy.processes() == []
    assert idle.rest().startswith(b"* BYE ")
    assert [session.rest() for session in sessions] == [b"", b""]
    for client in (idle, *sessions):
        client.close()
    assert not connects(arena.proxy.imap_port)
    assert [path.name for path in base_dir.rglob("*")] == ["login"]
    lines = arena.proxy.log_text().splitlines()
    assert re.fullmatch(LINE + re.escape(f"Info: mailproxy v{mailproxy.__version__} starting up"), lines[0])
    assert any(re.fullmatch(LINE + "Warning: Killed with signal 15", line) for line in lines)
    assert not any("Error: " in line for line in lines)


def test_an_end_by_sigint_is_silent(new_arena: NewArena) -> None:
    """F13."""
    arena = new_arena()
    assert arena.proxy.stop(signal.SIGINT) == 0
    assert arena.proxy.processes() == []
    assert not arena.proxy.log_contains("Killed with signal")


def test_a_second_sigterm_waits_for_nobody(new_arena: NewArena) -> None:
    """F13: also when a child does not listen."""
    arena = new_arena()
    (auth,) = arena.proxy.children("auth")
    auth.suspend()
    os.kill(arena.proxy.pid, signal.SIGTERM)
    arena.proxy.wait_log("Killed with signal 15")
    assert arena.proxy.stop() == 0
    wait_until("nobody is left", lambda: not arena.proxy.processes())


def test_nobody_is_born_while_it_ends(new_arena: NewArena) -> None:
    """F09, F13: not even an auth that died young and waits to be forked again."""
    arena = new_arena("login_processes_count = 1")

    def kill_auth() -> None:
        wait_until("auth is there", lambda: pids(arena, "auth"))
        arena.proxy.kill("auth")

    while not arena.proxy.log_contains("Temporary failure in creating authentication processes"):
        kill_auth()
    for _ in range(3):  # Now it would come back after 0.8 s.
        kill_auth()
    (worker,) = arena.proxy.children("imap-login")
    worker.suspend()
    os.kill(arena.proxy.pid, signal.SIGTERM)
    with pytest.raises(AssertionError, match="auth is born"):
        wait_until("auth is born", lambda: pids(arena, "auth"), 1.2)
    worker.resume()
    assert arena.proxy.stop() == 0
    assert arena.proxy.processes() == []


@pytest.mark.parametrize("mode", list(MODES))
def test_sessions_outlive_a_stop_when_asked_to(new_arena: NewArena, mode: str) -> None:
    """F13: shutdown_clients = no; another master may start; the old one leaves with the last session."""
    arena = new_arena(MODES[mode], "shutdown_clients = no")
    proxy, old = arena.proxy, arena.proxy.pid
    session, idle = guest(arena), arena.client()
    os.kill(old, signal.SIGTERM)
    assert idle.rest().startswith(b"* BYE ")
    wait_until("nobody listens", lambda: not connects(proxy.imap_port))
    wait_until("no file is left", lambda: [path.name for path in proxy.base_dir.rglob("*")] == ["login"])
    assert echoes(session)
    proxy.start()
    assert echoes(session)
    assert old in {process.pid for process in proxy.processes()}
    session.close()
    wait_until("the old master has left", lambda: old not in {process.pid for process in proxy.processes()})
    assert try_login(arena).startswith(b"a1 OK ")
    idle.close()


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("why", ["grace", "signal"])
def test_sessions_that_outlive_a_stop_are_ended(new_arena: NewArena, mode: str, why: str) -> None:
    """F13: when `shutdown_grace` is over, or by a second signal; nothing is left behind."""
    arena = new_arena(MODES[mode], "shutdown_clients = no", f"shutdown_grace = {1 if why == 'grace' else 0}")
    session = guest(arena)
    os.kill(arena.proxy.pid, signal.SIGTERM)
    wait_until("nobody listens", lambda: not connects(arena.proxy.imap_port))
    if why == "signal":
        assert echoes(session)
        os.kill(arena.proxy.pid, signal.SIGTERM)
    assert session.rest() == b""
    wait_until("nobody is left", lambda: not arena.proxy.processes())
    assert [path.name for path in arena.proxy.base_dir.rglob("*")] == ["login"]
    arena.proxy.wait_log("Disconnected by proxy, in=")
    session.close()


def test_a_restart_binds_at_once(new_arena: NewArena) -> None:
    """F19: with connections in TIME_WAIT on our side."""
    arena = new_arena()
    for _ in range(5):
        session = guest(arena)
        assert arena.proxy.stop() == 0
        assert session.rest() == b""
        arena.proxy.start()
        session.close()


def test_a_second_master_harms_nothing(new_arena: NewArena) -> None:
    """F06: it is gone within two seconds with a clear line; also twenty at once."""
    arena = new_arena()
    session = guest(arena)
    done = run(arena.proxy, "-F")
    assert done.returncode == 89
    pid_file = arena.proxy.base_dir / "master.pid"
    said = f"Error: mailproxy is already running with PID {arena.proxy.pid} ({pid_file})\n"
    assert done.stderr == said
    command = [sys.executable, "-m", "mailproxy.cli", "-c", str(arena.proxy.configuration), "-F"]
    many = [subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) for _ in range(20)]
    for one in many:
        assert one.communicate(timeout=30)[1] == said
        assert one.returncode == 89
    assert pid_file.read_text() == f"{arena.proxy.pid}\n"
    assert echoes(session)
    assert try_login(arena).startswith(b"a1 OK ")
    session.close()


def test_of_twenty_masters_one_serves(new_arena: NewArena) -> None:
    """F06: all start on a free field."""
    arena = new_arena()
    arena.proxy.stop()
    command = [sys.executable, "-m", "mailproxy.cli", "-c", str(arena.proxy.configuration), "-F"]
    many = [
        subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(20)
    ]
    wait_until("all but one have ended", lambda: sum(one.poll() is None for one in many) == 1, START_S)
    (winner,) = [one for one in many if one.poll() is None]
    assert {one.returncode for one in many if one is not winner} == {89}
    wait_until("it serves", lambda: greets(arena.proxy.imap_port))
    assert try_login(arena).startswith(b"a1 OK ")
    winner.terminate()
    assert winner.wait(10) == 0
    arena.proxy.start()


def test_an_address_in_use(new_arena: NewArena) -> None:
    """Every taken address is named, and no file stays behind."""
    arena = new_arena()
    arena.proxy.stop()
    with (
        socket.create_server(("127.0.0.1", arena.proxy.imap_port)),
        socket.create_server(("127.0.0.1", arena.proxy.pop3_port)),
    ):
        done = run(arena.proxy, "-F")
    assert done.returncode == 89
    assert done.stderr.splitlines() == [
        f"Error: listen(127.0.0.1:{port}) failed: Address already in use"
        for port in (arena.proxy.imap_port, arena.proxy.pop3_port)
    ]
    assert not (arena.proxy.base_dir / "master.pid").exists()
    assert list((arena.proxy.base_dir / "login").iterdir()) == []
    arena.proxy.start()


def test_rotated_logs(new_arena: NewArena) -> None:
    """F18: the new file is used at once, also for what children say; nobody holds the old one."""
    arena = new_arena()
    old = arena.proxy.folder / "log.1"
    arena.proxy.log.rename(old)
    os.kill(arena.proxy.pid, signal.SIGUSR1)
    wait_until("the new file is there", arena.proxy.log.exists)
    guest(arena).close()
    arena.proxy.wait_log("started proxying")
    assert "started proxying to" not in old.read_text().split("starting up")[-1]
    for process in arena.proxy.processes():
        assert str(old) not in [os.path.realpath(f"/proc/{process.pid}/fd/{fd}") for fd in _fds(process.pid)]
    assert arena.proxy.log.stat().st_mode & 0o777 == 0o600


def _fds(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def test_daemon(new_arena: NewArena) -> None:
    """Without -F the command returns when it is known that nothing is wrong; the daemon has no terminal."""
    arena = new_arena()
    proxy = arena.proxy
    proxy.stop()
    assert run(proxy).returncode == 0
    try:
        pid_file = proxy.base_dir / "master.pid"
        wait_until("the pid file is written", lambda: pid_file.exists() and pid_file.read_text().strip())
        pid = int(pid_file.read_text())
        wait_until("it serves", lambda: greets(proxy.imap_port))
        master = psutil.Process(pid)
        assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)
        assert master.cmdline()[0] == "mailproxy: master"
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
        assert try_login(arena).startswith(b"a1 OK ")
        assert run(proxy).returncode == 89
    finally:
        children = master.children()
        master.terminate()
    _, alive = psutil.wait_procs([master, *children], 10)
    assert not alive
    proxy.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_as_a_plain_user(new_arena: NewArena) -> None:
    """All processes are his, nothing is chrooted, one warning says so; everything else works."""
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", sys.executable]
    environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    look = subprocess.run([*as_nobody, "-c", "import mailproxy.cli"], env=environment, capture_output=True)
    if look.returncode != 0:
        pytest.skip(f"a plain user may not read {CHECKOUT} or its Python")
    arena = new_arena()
    proxy = arena.proxy
    proxy.stop()
    nobody = pwd.getpwnam("nobody")
    for path in (proxy.folder, *proxy.folder.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    text = proxy.configuration.read_text()
    proxy.configuration.write_text(text.replace("auth_debug = no", "login_user = nobody\nlogin_chroot = no"))
    with (proxy.folder / "said").open("wb") as said:
        master = psutil.Popen(
            [*as_nobody, "-m", "mailproxy.cli", "-F", "-c", str(proxy.configuration)],
            cwd=CHECKOUT,
            stderr=said,
            start_new_session=True,
            env=environment,
        )
    try:
        wait_until(
            "it serves",
            lambda: greets(proxy.imap_port) or (master.poll() is not None and Path(said.name).read_text()),
        )
        assert master.poll() is None, Path(said.name).read_text()
        assert try_login(arena).startswith(b"a1 OK ")
        for process in (master, *master.children()):
            with contextlib.suppress(psutil.NoSuchProcess):  # That of the login before has ended.
                assert process.username() == "nobody"
        with guest(arena, "pop3") as session:
            assert echoes(session)
    finally:
        master.terminate()
        assert master.wait(10) == 0
    for path in (proxy.folder, *proxy.folder.rglob("*")):
        os.chown(path, 0, 0)
    proxy.configuration.write_text(text)
    proxy.start()


def test_no_login_fails_while_everything_starts(new_arena: NewArena) -> None:
    """F20: who connects early is greeted when auth is ready, or refused by the kernel; nothing else."""
    arena = new_arena()
    arena.proxy.stop()
    arena.proxy.start(wait=False)
    wait_until("the kernel takes a connect", lambda: connects(arena.proxy.imap_port), START_S)
    with RawClient(arena.proxy.imap_port) as client:
        assert client.greeting.startswith(b"* OK")
        assert client.ask(b"a LOGIN guest %s\r\n" % arena.GUEST).startswith(b"a OK ")
    arena.proxy.wait_ready()
    assert pids(arena, "auth")


@pytest.mark.parametrize("mode", list(MODES))
def test_no_worker_greets_before_it_has_auth(new_arena: NewArena, mode: str) -> None:
    """F20: not even one that was asked something by the master while it waits."""
    arena = new_arena(MODES[mode], "login_processes_count = 1")
    (auth,) = arena.proxy.children("auth")
    auth.suspend()
    before = pids(arena, "pop3-login")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until("another is there", lambda: pids(arena, "pop3-login") - before)
    run_ctl(arena, "status")
    with RawClient(arena.proxy.pop3_port, greet=False) as client:
        assert client.is_silent(0.5)
        auth.resume()
        assert client.line().startswith(b"+OK ")
