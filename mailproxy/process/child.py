"""What every child does first: keep only its own descriptors, then give up its rights.

A process per connection does this for a single login. The interpreter has not adapted code that runs once, so
each name that it looks up in a module, and each function it calls, is a page of the master's that is copied
for a reference count, 2 to 3 us: hence the names that are imported one by one, no context managers, and on a
child's way to its first client loops where a comprehension, which is a function made anew, would be shorter.
"""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Callable, Iterable
from functools import cache
from os import (
    O_RDWR,
    chdir,
    closerange,
    devnull,
    dup2,
    geteuid,
    setgroups,
    setresgid,
    setresuid,
    setuid,
)
from os import chroot as enter
from os import open as open_fd
from resource import RLIMIT_AS, RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit, setrlimit

from mailproxy.base.level import Level
from mailproxy.ipc import log_frames

Log = Callable[[Level, str], None]

# The kernel writes this much to a pipe in one piece or not at all, so children may share one.
_ATOMIC_BYTES = 4096
_LOG_WAIT_S = 0.02


class ChildLog:
    """Log lines to the master through a pipe. Never blocks: what does not fit is counted and told later.

    `write` may be called from any thread, unless `call_later` (a reactor's) is given. Then lines wait up to
    20 ms for more: under load the master wakes up for a page of them, not for each, which saves a tenth of
    a login's CPU time.
    """

    def __init__(
        self,
        fd: int = 2,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
        *,
        opened: bool = True,
    ) -> None:
        self._fd = fd
        self._call_later = call_later
        self._frames: list[bytes] = []
        self._held_bytes = 0
        self._is_armed = False
        self._lost = 0
        if opened:
            self.open()

    def open(self) -> None:
        """Make the descriptor non-blocking; for one that is made before its fork."""
        os.set_blocking(self._fd, False)

    def write(self, level: Level, text: str) -> None:
        """Send one line, now or soon."""
        frame = log_frames.render(level, text)
        if self._call_later is None:
            self._frames.append(frame)
            self.flush()
            return
        if self._held_bytes + len(frame) > _ATOMIC_BYTES:
            self.flush()
        if not self._frames and not self._is_armed:
            self._is_armed = True
            self._call_later(_LOG_WAIT_S, self._on_time)
        self._frames.append(frame)
        self._held_bytes += len(frame)

    def _on_time(self) -> None:
        self._is_armed = False
        self.flush()

    def flush(self) -> None:
        """Send what was collected, in pieces that stay whole among those of other writers."""
        frames, self._frames = self._frames, []
        self._held_bytes = 0
        if self._lost:
            lost, self._lost = self._lost, 0
            self._send([log_frames.render(Level.WARNING, f"{lost} log lines were lost")])
            if self._lost:
                self._lost = lost + len(frames)
                return
        piece: list[bytes] = []
        piece_bytes = 0
        for frame in frames:
            if piece and piece_bytes + len(frame) > _ATOMIC_BYTES:
                self._send(piece)
                piece, piece_bytes = [], 0
            piece.append(frame)
            piece_bytes += len(frame)
        if piece:
            self._send(piece)

    def _send(self, frames: list[bytes]) -> None:
        try:
            os.write(self._fd, b"".join(frames))
        except OSError:  # The pipe is full, or the master is gone.
            self._lost += len(frames)


def keep_only(fds: Iterable[int]) -> None:
    """Close every descriptor but 0 to 2 and these."""
    low = 3
    for fd in sorted(fds):
        if fd >= low:
            closerange(low, fd)
            low = fd + 1
    closerange(low, getrlimit(RLIMIT_NOFILE)[1] + 1)


def wire_standard_fds(log_fd: int) -> None:
    """Nothing to read, nowhere to print, and stderr into the log: a traceback must not be lost."""
    # The parent may have had its last descriptor: open takes the place that is free now.
    closerange(0, 1)
    dup2(open_fd(devnull, O_RDWR), 1)
    dup2(log_fd, 2)


@cache
def account(user: str) -> tuple[int, int]:
    """Look a user's uid and gid up, once; the master does so before it forks. Raises KeyError."""
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def become(user: str, *, extra_groups: bool = False, chroot: str = "") -> None:
    """Enter `chroot` when given, then run as `user` for good. As a plain user nothing can be given up.

    `extra_groups` keeps the user's supplementary groups. Raises OSError, or KeyError for an unknown user;
    RuntimeError when root could be had back.
    """
    if geteuid() != 0:
        return
    # Looked up first: inside the new root there is no user database.
    uid, gid = account(user) if user else (0, 0)
    groups = os.getgrouplist(user, gid) if user and extra_groups else []
    if chroot:
        enter(chroot)
        chdir("/")
    if uid == 0:
        return
    setgroups(groups)
    setresgid(gid, gid, gid)
    setresuid(uid, uid, uid)
    try:
        setuid(0)
    except PermissionError:
        return
    raise RuntimeError("root could be had back")


def forbid_processes() -> None:
    """No fork from here on. Root is not held by this limit, so call it for those who gave root up."""
    if geteuid() != 0:
        _limit(RLIMIT_NPROC, 0)


def limit_memory(size_mib: int) -> None:
    """Bound the address space; 0 means no limit."""
    if size_mib:
        _limit(RLIMIT_AS, size_mib << 20)


def _limit(what: int, limit: int) -> None:
    try:
        setrlimit(what, (limit, limit))
    except (ValueError, OSError):
        return  # A stricter one holds.


def no_core_dump() -> None:
    """Keep passwords in memory out of core files, of this process and its children."""
    setrlimit(RLIMIT_CORE, (0, 0))


def out_of_descriptors(error: OSError) -> bool:
    """Whether a call failed because of descriptors or memory that others hold and will give back."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
