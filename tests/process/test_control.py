"""`mailproxyctl` and the control socket of a running tree."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailproxy.ipc.control import Reply, Request, parse_reply, render_request
from tests.harness.arena import Arena
from tests.harness.proxy import CHECKOUT
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import carriers, echoes, guest, pids, run_ctl, try_login


def rows(arena: Arena, *pattern: str) -> list[dict[str, str]]:
    """Return the table of `who`."""
    head, *lines = [line.split() for line in run_ctl(arena, "who", *pattern).splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


@contextlib.contextmanager
def asked(arena: Arena, request: Request) -> Iterator[socket.socket]:
    """Ask by hand."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(10)
        sock.connect(str(arena.proxy.base_dir / "control"))
        sock.send(render_request(request))
        yield sock


def test_status(arena: Arena) -> None:
    text = run_ctl(arena, "status")
    assert f"PID {arena.proxy.pid}" in text
    assert "imap-login: 2 processes, 2 accepting" in text
    assert "auth(default): 1 process" in text


def test_status_counts_at_once(arena: Arena) -> None:
    """Also what a worker would not report by itself."""
    sessions = [guest(arena) for _ in range(3)]
    wait_until("all are counted", lambda: "3 sessions" in run_ctl(arena, "status"), 3)
    for session in sessions:
        session.close()


def test_who_sees_everybody(arena: Arena) -> None:
    """Those who log in and those who have, of every generation, with what passed in which process (F12)."""
    sessions = [guest(arena), guest(arena, "pop3")]
    assert echoes(sessions[0])
    (carrier,) = carriers(arena, sessions[:1])
    arena.proxy.sighup()
    arena.proxy.wait_log("reloading configuration")
    idle = arena.client()
    wait_until("all three are seen", lambda: len(rows(arena)) == 3)
    arena.proxy.wait_log("started proxying to", 2)
    imap = next(row for row in rows(arena) if row["protocol"] == "imap" and row["state"] == "proxy")
    assert imap["user"] == "guest"
    assert imap["client"] == "127.0.0.1"
    assert imap["backend"] == f"127.0.0.1:{arena.house_imap.port}"
    assert len(imap["session"]) == 16
    assert (imap["in"], imap["tls"]) == ("12", "-")
    assert imap["since"][:2] == "20"
    assert int(imap["pid"]) == carrier
    login = next(row for row in rows(arena) if row["state"] == "login")
    assert (login["user"], login["backend"]) == ("-", "-")
    assert len(rows(arena, "gue*")) == 2
    assert len(rows(arena, "127.0.0.0/8")) == 3
    (same,) = rows(arena, imap["session"])
    assert same | {"since": ""} == imap | {"since": ""}
    assert "nobody matches mary" in run_ctl(arena, "who", "mary", status=1)
    for client in (*sessions, idle):
        client.close()


def test_kick(arena: Arena) -> None:
    """By name or session id; of old generations too, and nobody else."""
    first, second = guest(arena), guest(arena)
    bystander = arena.login("imap", b"bystander", arena.GUEST)
    arena.proxy.sighup()
    arena.proxy.wait_log("reloading configuration")
    session = next(row["session"] for row in rows(arena) if row["user"] == "guest")
    assert session in run_ctl(arena, "kick", session)
    wait_until("one of them is gone", lambda: len(rows(arena, "guest")) == 1)
    assert "guest" in run_ctl(arena, "kick", "guest")
    for client in (first, second):
        assert client.rest() == b""
        client.close()
    assert "nobody matches guest" in run_ctl(arena, "kick", "guest", status=1)
    assert echoes(bystander)
    bystander.close()
    assert "mailproxyctl kick guest (uid " in arena.proxy.log_text()


def test_a_kicked_login_is_told(arena: Arena) -> None:
    client = arena.client()
    wait_until("he is seen", lambda: rows(arena, "127.0.0.1"))
    run_ctl(arena, "kick", "127.0.0.1")
    assert client.rest().startswith(b"* BYE Disconnected by the administrator")
    client.close()
    assert try_login(arena).startswith(b"a1 OK ")


def test_who_is_told_of_many_in_one_worker(new_arena: NewArena) -> None:
    """More than one packet holds, and more than a socket buffer."""
    arena = new_arena(MODES["shared"])
    clients = [guest(arena) for _ in range(250)]
    assert len(rows(arena)) == 250
    for client in clients:
        client.close()


def test_reload(arena: Arena) -> None:
    """It returns when the new generation serves; a broken file is told to who asked."""
    before = pids(arena, "auth")
    session = guest(arena)
    assert "the new configuration is in use" in run_ctl(arena, "reload")
    assert pids(arena, "auth") - before
    assert echoes(session)
    session.close()
    good = arena.proxy.configuration.read_text()
    arena.proxy.configuration.write_text("no_such_setting = 1\n" + good)
    assert "Unknown setting: no_such_setting" in run_ctl(arena, "reload", status=1)
    arena.proxy.configuration.write_text(good)
    arena.proxy.sql.write_text("driver = nothing\n")
    assert "auth process did not become ready" in run_ctl(arena, "reload", status=1)
    assert try_login(arena).startswith(b"a1 OK ")


def test_stop(arena: Arena) -> None:
    """F13: nothing is left behind, and that is when the command returns."""
    assert "has ended" in run_ctl(arena, "stop")
    assert arena.proxy.stop() == 0
    assert not (arena.proxy.base_dir / "control").exists()
    text = run_ctl(arena, "status", status=69)
    assert text.startswith("mailproxyctl: mailproxy is not running (")


def test_the_socket_of_a_killed_master_is_replaced(arena: Arena) -> None:
    """F08: and nothing answers there meanwhile."""
    arena.proxy.stop(signal.SIGKILL)
    assert (arena.proxy.base_dir / "control").is_socket()
    run_ctl(arena, "status", status=69)
    wait_until("the others have left", lambda: not arena.proxy.processes())
    arena.proxy.start()
    assert f"PID {arena.proxy.pid}" in run_ctl(arena, "status")


def test_a_foreign_file_is_not_replaced(new_arena: NewArena) -> None:
    """F08, V12."""
    arena = new_arena()
    arena.proxy.stop()
    path = arena.proxy.base_dir / "control"
    path.write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "mailproxy.cli", "-F", "-c", str(arena.proxy.configuration)],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (89, f"Error: {path} exists and is not a socket; move it away\n")
    assert path.read_text() == "mine"
    path.unlink()
    arena.proxy.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_others_are_refused(new_arena: NewArena) -> None:
    """V10: by the file's mode, and by who asks should the mode be changed."""
    arena = new_arena()
    path = arena.proxy.base_dir / "control"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert as_nobody(lambda: ask_status(path)) == "PermissionError"
    path.chmod(0o666)
    assert "only root and the user" in as_nobody(lambda: ask_status(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_auth_is_out_of_reach_of_others(new_arena: NewArena) -> None:
    """V10: by its directory's mode and by its own."""
    login_dir = new_arena().proxy.base_dir / "login"

    def reach() -> str:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(login_dir / "default"))
        except OSError as error:
            return type(error).__name__
        return "connected"

    assert as_nobody(reach) == "PermissionError"
    login_dir.chmod(0o755)
    assert as_nobody(reach) == "PermissionError"
    (login_dir / "default").chmod(0o666)
    assert as_nobody(reach) == "connected"


def ask_status(path: Path) -> str:
    """Ask by hand; returns the answer or the name of the error."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(5)
            sock.connect(str(path))
            return sock.recv(1000).decode()
    except OSError as error:
        return type(error).__name__


def as_nobody(action: Callable[[], str]) -> str:
    """Call in a process of somebody else."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.write(write_fd, action().encode())
        finally:
            os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def test_a_process_that_does_not_answer_is_a_gap(new_arena: NewArena) -> None:
    """What the others say is shown."""
    arena = new_arena(MODES["own"])
    session = guest(arena)
    (pid,) = carriers(arena, [session])
    other = guest(arena)
    os.kill(pid, signal.SIGSTOP)
    try:
        text = run_ctl(arena, "who", status=75)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert text.count("guest") == 1
    assert "1 process does not answer, so the list is not complete" in text
    assert echoes(session)
    session.close()
    other.close()


def test_malformed_requests_are_refused(new_arena: NewArena) -> None:
    arena = new_arena()
    path = str(arena.proxy.base_dir / "control")
    for packet in (b"x", b"\x01\xff", b"\x01\x03", b"\x01\x01extra", b"\x01\x03" + b"x" * 300, b"\x09\x01"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(5)
            sock.connect(path)
            sock.send(packet)
            assert parse_reply(sock.recv(1000))[0] is Reply.FAILURE
            assert sock.recv(1000) == b""
    assert "accepting" in run_ctl(arena, "status")


@pytest.mark.parametrize(("mode", "sessions"), [("shared", 60), ("own", 20)])
def test_requesters_who_do_not_read_hold_up_nobody(new_arena: NewArena, mode: str, sessions: int) -> None:
    """X12: workers go on meanwhile; tests/unit/net/test_packets.py has when they are dropped."""
    arena = new_arena(MODES[mode])
    clients = [guest(arena) for _ in range(sessions)]
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(asked(arena, Request.WHO))
        assert all(echoes(client) for client in clients[:5])
        assert len(rows(arena)) == sessions
    for client in clients:
        client.close()


def explain(arena: Arena, *words: str, password: bytes | None = None) -> tuple[int, str]:
    """Ask what would become of a login; returns status and text."""
    command = [sys.executable, "-m", "mailproxy.ctl", "-c", str(arena.proxy.configuration), "explain"]
    done = subprocess.run(
        [*command, *([] if password is None else ["-p"]), *words],
        cwd=CHECKOUT,
        input=password or b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def test_explain(new_arena: NewArena) -> None:
    """Who would get in and where, who would not and why; secrets are in no answer and in no log."""
    arena = new_arena()
    arena.add("anna", "Anna-Secret-44", destuser="anna.b", pass_="Backend-Secret-55", host="127.0.0.9")
    arena.add("nobody", "")
    arena.add("lost", "x", host="")
    arena.proxy.secrets |= {"Anna-Secret-44", "Backend-Secret-55", "Wrong-Secret-66"}
    told = []

    status, text = explain(arena, "anna", "pop3/192.0.2.1")
    told.append(text)
    assert status == 0
    assert "no password was given: it is taken to be right" in text
    assert "passdb sql has a row for anna; password: stored" in text
    assert "accepted as anna" in text
    assert "  host=127.0.0.9" in text
    assert f"  port={arena.pop3.port}" in text
    assert "  destuser=anna.b" in text
    assert "  pass=(not shown)" in text

    status, text = explain(arena, "anna", password=b"Anna-Secret-44\n")
    told.append(text)
    assert status == 0
    assert f"  port={arena.imap.port}" in text

    status, text = explain(arena, "anna", password=b"Wrong-Secret-66\n")
    told.append(text)
    assert status == 1
    assert "Password mismatch" in text
    assert text.endswith("\nrefused\n")

    status, text = explain(arena, "john")
    assert (status, "NULL, so any will do" in text) == (0, True)
    for user, why in (
        ("stranger", "unknown user"),
        ("nobody", "Stored password is empty"),
        ("lost", "is set but field 'host' is missing or empty"),
        ("a b", "Username contains disallowed character: 0x20"),
        ("", "Empty username"),
    ):
        status, text = explain(arena, user)
        assert (status, why in text) == (1, True), text
    assert not any(secret in text for text in told for secret in arena.proxy.secrets)
    assert "anna" not in arena.proxy.log_text()


def test_explain_while_the_database_is_broken(new_arena: NewArena) -> None:
    arena = new_arena()
    arena.database.execute("DROP TABLE users")
    status, text = explain(arena, "guest")
    assert status == 1
    assert "passdb sql failed for guest" in text
    assert "refused for now: a temporary failure" in text
