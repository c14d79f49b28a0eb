"""Directories, pid file and Unix sockets."""

from __future__ import annotations

import fcntl
import os
import pwd
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.config.load import load
from mailproxy.config.settings import Settings, SocketSettings
from mailproxy.process import run_dir
from mailproxy.process.auth_sockets import AuthSockets
from mailproxy.process.run_dir import PidFile

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="mp-run-") as path:
        yield Path(path)


@pytest.fixture
def settings(folder: Path) -> Settings:
    path = folder / "dovecot.conf"
    path.write_text(
        f"base_dir = {folder}/base\nlog_path = {folder}/log\nprotocols = imap pop3\nssl_disable = yes\n"
        "login_user = nobody\nauth default {\n  mechanisms = plain\n  user = daemon\n"
        f"  passdb passwd-file {{\n    args = {path}\n  }}\n"
        "  userdb static {\n    args = uid=0 gid=0\n  }\n}\n"
    )
    return load(str(path))


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


# -- directories ------------------------------------------------------------------------------------------


def test_fresh_directories(settings: Settings, folder: Path) -> None:
    """V03: nobody but root and the login group gets into login_dir."""
    assert run_dir.prepare(settings) == []
    assert mode(folder / "base") == 0o755
    assert mode(folder / "base" / "login") == 0o750
    if IS_ROOT:
        status = os.stat(folder / "base" / "login")
        assert (status.st_uid, status.st_gid) == (0, pwd.getpwnam("nobody").pw_gid)
    assert run_dir.prepare(settings) == []


@pytest.mark.parametrize(("given", "warned"), [(0o777, True), (0o400, True), (0o755, False), (0o711, False)])
def test_permissions_of_base_dir(settings: Settings, folder: Path, given: int, warned: bool) -> None:
    (folder / "base").mkdir()
    (folder / "base").chmod(given)
    text = f"Fixing permissions of {folder}/base to be world-readable"
    assert run_dir.prepare(settings) == ([text] if warned else [])
    assert mode(folder / "base") == (0o755 if warned else given)


def test_permissions_of_login_dir(settings: Settings, folder: Path) -> None:
    login = folder / "base" / "login"
    login.mkdir(parents=True)
    login.chmod(0o777)
    assert run_dir.prepare(settings) == [f"Corrected permissions for login directory {login}"]
    assert mode(login) == 0o750


def test_a_directory_that_cannot_be_made(settings: Settings, folder: Path) -> None:
    (folder / "base").write_text("a file")
    with pytest.raises(ConfigError, match=f"Can't prepare {folder}/base"):
        run_dir.prepare(settings)


# -- the pid file -----------------------------------------------------------------------------------------


def locked(folder: Path) -> PidFile:
    pid_file = PidFile(str(folder))
    pid_file.lock()
    return pid_file


def test_the_life_of_a_pid_file(folder: Path) -> None:
    pid_file = locked(folder)
    pid_file.write()
    path = folder / "master.pid"
    assert path.read_text() == f"{os.getpid()}\n"
    assert mode(path) == 0o600
    pid_file.remove()
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "garbage\n", "1\n", "999999999\n", "-1\n", "x" * 10_000])
def test_a_stale_pid_file(folder: Path, content: str) -> None:
    """F07: the lock is free, so it starts, whatever the number says."""
    path = folder / "master.pid"
    path.write_text(content)
    pid_file = locked(folder)
    pid_file.write()
    assert path.read_text() == f"{os.getpid()}\n"
    pid_file.remove()


def test_a_second_master(folder: Path) -> None:
    """F06: it is told who runs, and leaves the file alone."""
    first = locked(folder)
    first.write()
    with pytest.raises(ConfigError, match=f"mailproxy is already running with PID {os.getpid()} "):
        PidFile(str(folder)).lock()
    assert (folder / "master.pid").read_text() == f"{os.getpid()}\n"
    first.remove()


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo", "socket"])
def test_what_is_no_plain_file(folder: Path, kind: str) -> None:
    """F07, V12: refused, and nothing is written through a link."""
    path, victim = folder / "master.pid", folder / "victim"
    victim.write_text("precious")
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.symlink_to(victim if kind == "link" else folder / "nothing")
    with pytest.raises(ConfigError, match=f"Can't use pid file {path}: .*; remove it and start again"):
        PidFile(str(folder)).lock()
    assert victim.read_text() == "precious"
    assert not (folder / "nothing").exists()


def test_a_file_that_is_removed_while_it_is_locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F06: a master that is ending removes the file between our open and our lock."""
    path = folder / "master.pid"
    real = fcntl.flock
    calls: list[int] = []

    def remove_first(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    pid_file = locked(folder)
    pid_file.write()
    assert len(calls) == 2
    assert path.read_text() == f"{os.getpid()}\n"
    pid_file.remove()


# -- Unix sockets -----------------------------------------------------------------------------------------


def test_a_fresh_socket(folder: Path) -> None:
    """V10: its mode is right from the first moment."""
    path = str(folder / "auth")
    gid = pwd.getpwnam("nobody").pw_gid if IS_ROOT else -1
    with run_dir.listen_unix(path, 0o660, -1, gid) as listener, socket.socket(socket.AF_UNIX) as peer:
        assert mode(path) == 0o660
        if IS_ROOT:
            assert os.stat(path).st_gid == gid
        assert not listener.getblocking()
        peer.connect(path)


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    """F08."""
    path = str(folder / "auth")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with run_dir.listen_unix(path, 0o600, -1, -1), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)


@pytest.mark.parametrize("backlog", [5, 0])
def test_a_living_socket_is_left_alone(folder: Path, backlog: int) -> None:
    """F06: also when its queue is full."""
    path = str(folder / "auth")
    with socket.socket(socket.AF_UNIX) as alive, socket.socket(socket.AF_UNIX) as first:
        alive.bind(path)
        alive.listen(backlog)
        if not backlog:
            first.connect(path)
        with pytest.raises(ConfigError, match=f"already running\\? Socket already exists: {path}"):
            run_dir.listen_unix(path, 0o600, -1, -1)
        assert os.path.exists(path)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_not_deleted(folder: Path, kind: str) -> None:
    """F08, V12."""
    path = folder / "auth"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(folder)
    with pytest.raises(ConfigError, match="exists and is not a socket; move it away"):
        run_dir.listen_unix(str(path), 0o600, -1, -1)
    assert os.path.lexists(path)


def test_a_path_that_is_too_long_or_nowhere(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"Can't create socket .*: .*too long"):
        run_dir.listen_unix(str(folder / ("x" * 120)), 0o600, -1, -1)
    with pytest.raises(ConfigError, match=r"Can't create socket .*: No such file or directory"):
        run_dir.listen_unix(str(folder / "no" / "where"), 0o600, -1, -1)


def test_which_sockets_an_auth_section_has(settings: Settings, folder: Path) -> None:
    gid = run_dir.login_group("nobody")
    default = (f"{folder}/base/login/default", 0o660, -1, gid)
    (section,) = settings.auths
    assert run_dir.worker_sockets(settings, section.name) == [default]
    assert run_dir.client_sockets(section) == []
    extras = (SocketSettings("/a", 0, "", ""), SocketSettings("/b", 0o666, "nobody", "root"))
    nobody = pwd.getpwnam("nobody").pw_uid
    assert run_dir.client_sockets(replace(section, client_sockets=extras)) == [
        ("/a", 0o600, -1, -1),
        ("/b", 0o666, nobody, 0),
    ]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (SocketSettings("{}/auth", 0o600, "nosuchuser", ""), r"Can't create socket .*/auth: .*nosuchuser"),
        (SocketSettings("{}/auth", 0o600, "", "nosuchgroup"), r"Can't create socket .*/auth: .*nosuchgroup"),
        (SocketSettings("{}/dovecot.conf/auth", 0o600, "", ""), r"Can't use socket .*: Not a directory"),
        (SocketSettings("{}/no/where", 0o600, "", ""), r"Can't create socket .*: No such file or directory"),
    ],
)
def test_sockets_that_cannot_be(settings: Settings, folder: Path, extra: SocketSettings, words: str) -> None:
    """F11: a problem for whoever reloads, at which no master ends; nothing is left behind."""
    run_dir.prepare(settings)
    (section,) = settings.auths
    wrong = replace(extra, path=extra.path.format(folder))
    section = replace(section, client_sockets=(SocketSettings(f"{folder}/good", 0o600, "", ""), wrong))
    with pytest.raises(ConfigError, match=words):
        AuthSockets(replace(settings, auths=(section,)), ())
    assert os.listdir(folder / "base" / "login") == []
    assert sorted(os.listdir(folder)) == ["base", "dovecot.conf"]
