"""The directories, pid file and Unix sockets that a running mailproxy has under `base_dir`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import socket
import stat

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.config.settings import AuthSettings, Settings, SocketSettings

_BACKLOG = 511
_PID_FILE = "master.pid"


def login_group(user: str) -> int:
    """The group that may use login_dir, -1 (leave it) for a plain user."""
    if os.geteuid() != 0:
        return -1
    return pwd.getpwnam(user).pw_gid


def prepare(settings: Settings) -> list[str]:
    """Make the directories with the modes Dovecot 1.0 gives them; return warnings. Raises ConfigError."""
    warnings = []
    try:
        os.makedirs(settings.base_dir, 0o755, exist_ok=True)
        mode = stat.S_IMODE(os.stat(settings.base_dir).st_mode)
        if (mode & 0o310) != 0o310 or mode == 0o777:
            os.chmod(settings.base_dir, 0o755)
            warnings.append(f"Fixing permissions of {settings.base_dir} to be world-readable")
        for login in settings.logins:
            warnings += _prepare_login_dir(login.login_dir, login_group(login.login_user))
    except OSError as error:
        problem = Problem(f"Can't prepare {error.filename or settings.base_dir}: {error.strerror}")
        raise ConfigError([problem]) from error
    return warnings


def _prepare_login_dir(path: str, gid: int) -> list[str]:
    os.makedirs(path, 0o750, exist_ok=True)
    status = os.stat(path)
    if stat.S_IMODE(status.st_mode) == 0o750 and (gid < 0 or status.st_gid == gid):
        return []
    was_open = bool(stat.S_IMODE(status.st_mode) & 0o027)
    os.chmod(path, 0o750)
    if gid >= 0:
        os.chown(path, os.geteuid(), gid)
    return [f"Corrected permissions for login directory {path}"] if was_open else []


class PidFile:
    """`master.pid`, locked while the master lives: the lock, not the number, says whether one runs."""

    def __init__(self, base_dir: str) -> None:
        self.path = os.path.join(base_dir, _PID_FILE)
        self._fd = -1

    def lock(self) -> None:
        """Take the lock. Raises ConfigError when another master has it, or for anything that is no file."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            while True:
                self._fd = os.open(self.path, flags, 0o600)
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                    raise OSError(errno.EINVAL, "not a plain file")
                if self._is_in_place():
                    return
                # A master that was ending removed the file between our two steps.
                os.close(self._fd)
        except BlockingIOError:
            pid = os.read(self._fd, 32).decode("ascii", "replace").strip()
            raise ConfigError(
                [Problem(f"mailproxy is already running with PID {pid} ({self.path})")]
            ) from None
        except OSError as error:
            problem = Problem(f"Can't use pid file {self.path}: {error.strerror}; remove it and start again")
            raise ConfigError([problem]) from error

    def inherit(self, fd: int) -> None:
        """Have the lock that another master gives us with its descriptor."""
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor; whoever has a copy of it shares the lock."""
        return self._fd

    def let_go(self) -> None:
        """Leave the file to the master who has the lock too."""
        os.close(self._fd)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self.path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def write(self) -> None:
        """Write this process's number, after it has become a daemon; the lock came along."""
        os.fchmod(self._fd, 0o600)
        # In this order the first line is the number of a master at any moment.
        line = b"%d\n" % os.getpid()
        os.pwrite(self._fd, line, 0)
        os.ftruncate(self._fd, len(line))

    def remove(self) -> None:
        """Remove the file, then let the lock go."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        os.close(self._fd)


def listen_unix(
    path: str, mode: int, uid: int, gid: int, kind: socket.SocketKind = socket.SOCK_STREAM
) -> socket.socket:
    """Listen on a Unix socket, replacing a dead one. Raises ConfigError if alive or not a socket."""
    try:
        refuse_taken(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise ConfigError([Problem(f"Can't replace socket {path}: {error.strerror or error}")]) from error
    listener = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
    old_umask = os.umask(0o777)
    try:
        listener.bind(path)
        os.chown(path, uid, gid)
        os.chmod(path, mode)
    except OSError as error:
        listener.close()
        raise ConfigError([Problem(f"Can't create socket {path}: {error.strerror or error}")]) from error
    finally:
        os.umask(old_umask)
    listener.listen(_BACKLOG)
    return listener


def hidden_name(path: str, why: str) -> str:
    """Where a socket stands that is to take the name `path` (*new*), or has had it (*kept*)."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{why}")


def refuse_taken(path: str) -> None:
    """Raise ConfigError for a path where somebody answers, or that is no socket."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
        is_alive = is_socket and _is_alive(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError([Problem(f"Can't use socket {path}: {error.strerror or error}")]) from error
    if not is_socket:
        raise ConfigError([Problem(f"{path} exists and is not a socket; move it away")])
    if is_alive:
        raise ConfigError([Problem(f"mailproxy is already running? Socket already exists: {path}")])


def _is_alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            pass  # Whoever listens has a full queue.
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:  # Whoever listens speaks in packets.
                raise
    return True


Place = tuple[str, int, int, int]
"""Path, mode, uid and gid of a Unix socket."""


def worker_sockets(settings: Settings, process_name: str) -> list[Place]:
    """Where login workers ask an auth process."""
    login_dirs = {login.login_dir: login_group(login.login_user) for login in settings.logins}
    return [(os.path.join(path, process_name), 0o660, -1, gid) for path, gid in login_dirs.items()]


def client_sockets(auth: AuthSettings) -> list[Place]:
    """Where others ask an auth section, whichever of its processes answers. Raises ConfigError."""
    return [_client_socket(extra) for extra in auth.client_sockets]


def _client_socket(extra: SocketSettings) -> Place:
    try:
        uid = pwd.getpwnam(extra.user).pw_uid if extra.user else -1
        gid = grp.getgrnam(extra.group).gr_gid if extra.group else -1
    except KeyError as error:
        raise ConfigError([Problem(f"Can't create socket {extra.path}: {error.args[0]}")]) from error
    return (extra.path, extra.mode or 0o600, uid, gid)
