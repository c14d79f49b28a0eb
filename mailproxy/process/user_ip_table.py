"""How many sessions each user has from each address, over all workers, for `mail_max_userip_connections`.

A file that every worker has mapped, with one row for each session: a keyed hash of protocol, user and
address, and the process that carries it. Rows lie in buckets by their hash; a full bucket spills into the
next one. To count and to take a row is one step under a lock that the kernel releases when its holder dies.
A process gives its rows back itself; the master does so for one that was killed, and watches over those whom
an earlier master left behind: they have the file mapped too, so their sessions still count.

Whatever stands in the file, reading it ends and raises nothing. A captured worker can falsify counts, and can
keep the lock, which stops logins until it is replaced; but as its siblings' user it could stop them too.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Callable
from hashlib import blake2b
from typing import Self

from mailproxy.base.level import Level
from mailproxy.config.settings import Settings
from mailproxy.net.reactor import READ, Reactor

NAME = "userip"
BUCKETS = 4096
# The first word of a bucket says whether it ever spilled; then come hashes, then pids in the same order.
_ROWS = 63
_STRIDE = 2 * (_ROWS + 1)
_WORD_BYTES = 8
_HEAD_BYTES = 4096
# Changes with the layout: a file of another one is replaced.
_MAGIC = b"mailproxy userip 1\n"
_KEY_BYTES = 32
MANY = 1 << 30

Row = int
"""Where a session is counted; 0 means nowhere, as where sessions are not counted."""


def _size_bytes(buckets: int) -> int:
    return _HEAD_BYTES + buckets * _STRIDE * _WORD_BYTES


class UserIps:
    """The master's side: the table, from when a configuration first asks for it."""

    def __init__(self, base_dir: str, log: Callable[[Level, str], None]) -> None:
        self._base_dir = base_dir
        self._log = log
        self._table: UserIpTable | None = None

    def table_for(self, settings: Settings, reactor: Reactor) -> UserIpTable | None:
        """Return the table if these settings want sessions counted, and it can be had."""
        if not any(login.mail_max_userip_connections for login in settings.logins):
            return None
        if self._table is None:
            try:
                self._table = UserIpTable.open(self._base_dir)
            except OSError as error:
                path = os.path.join(self._base_dir, NAME)
                text = f"{path}: {error.strerror}: mail_max_userip_connections limits nothing"
                self._log(Level.ERROR, text)
                return None
            self._table.watch_strangers(reactor)
        return self._table

    def forget(self, pid: int) -> None:
        """Give back what a process counted that died before it could do so."""
        if self._table is not None:
            self._table.forget(pid)

    def remove(self) -> None:
        """Remove the file, unless sessions live on that it counts."""
        if self._table is not None:
            self._table.remove()


class Places:
    """The table as one worker uses it: for his protocol, with its limit, of which 0 is none.

    Users have the printable names that relays are known by, so one that is handed over counts as before.
    """

    def __init__(self, table: UserIpTable | None, protocol: bytes, limit: int) -> None:
        self._table = table if limit else None
        self.are_limited = self._table is not None
        self._protocol = protocol
        self._limit = limit

    def take(self, user: str, ip: str) -> Row | None:
        """Count a session; None if there are too many already."""
        return (
            self._table.take(self._protocol, user.encode(), ip, self._limit) if self._table is not None else 0
        )

    def adopt(self, user: str, ip: str) -> Row:
        """Count a session that another process has carried so far, whatever the limit says."""
        if self._table is None:
            return 0
        return self._table.take(self._protocol, user.encode(), ip, MANY) or 0

    def give_back(self, row: Row | None) -> None:
        """Count the session no more."""
        if row and self._table is not None:
            self._table.give_back(row)


class UserIpTable:
    """The one of a service: opened by the master, inherited by its children. Not for more than one thread."""

    def __init__(self, fd: int, path: str, buckets: int) -> None:
        self._fd = fd
        self._path = path
        self._buckets = buckets
        # Never closed: the mapping has a copy of the descriptor, whose number may be another's in a child.
        self._map = mmap.mmap(fd, _size_bytes(buckets))
        self._key = self._map[len(_MAGIC) : len(_MAGIC) + _KEY_BYTES]
        self._words = memoryview(self._map)[_HEAD_BYTES:].cast("Q")

    @classmethod
    def open(cls, base_dir: str, buckets: int = BUCKETS) -> Self:
        """Take the table that is there, or make one. Raises OSError."""
        path = os.path.join(base_dir, NAME)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            fd = os.open(path, flags)
            found = os.fstat(fd)
            if os.pread(fd, len(_MAGIC), 0) == _MAGIC and found.st_size == _size_bytes(buckets):
                return cls(fd, path, buckets)
            os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # Whoever counts where the disk has no room for it any more would be killed by SIGBUS.
            os.posix_fallocate(fd, 0, _size_bytes(buckets))
            os.pwrite(fd, _MAGIC + os.urandom(_KEY_BYTES), 0)
        except OSError:
            os.close(fd)
            os.unlink(path)
            raise
        return cls(fd, path, buckets)

    def fileno(self) -> int:
        """The descriptor that a child keeps, for the lock."""
        return self._fd

    def take(self, protocol: bytes, user: bytes, ip: str, limit: int) -> Row | None:
        """Count one session more, of this process; None when there are `limit` already.

        Waits for another process that is counting, some microseconds. When the whole table is full the
        session is let through uncounted.
        """
        # Neither protocol nor address holds a NUL.
        words = blake2b(b"%b\0%b\0%b" % (protocol, ip.encode(), user), digest_size=8, key=self._key).digest()
        wanted = int.from_bytes(words, "little") or 1
        fcntl.lockf(self._fd, fcntl.LOCK_EX, 1)
        try:
            return self._take(wanted, limit)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1)

    def _take(self, wanted: int, limit: int) -> Row | None:
        words = self._words
        count = free = 0
        bucket = wanted % self._buckets
        for step in range(self._buckets):
            start = (bucket + step) % self._buckets * _STRIDE
            hashes = words[start + 1 : start + 1 + _ROWS].tolist()
            count += hashes.count(wanted)
            if count >= limit:
                return None
            if not free and 0 in hashes:
                free = start + 1 + hashes.index(0)
            if not words[start]:
                if free:
                    break
                words[start] = 1
        if free:
            words[free + _ROWS] = os.getpid()
            words[free] = wanted
        return free

    def give_back(self, row: Row) -> None:
        """Count the session no more; a row that is not this process's stays."""
        if row and self._words[row + _ROWS] == os.getpid():
            self._words[row] = 0

    def forget(self, pid: int) -> None:
        """Give back all rows of a process that is dead; takes some milliseconds."""
        for row in self._rows():
            if self._words[row + _ROWS] == pid:
                self._words[row] = 0

    def watch_strangers(self, reactor: Reactor) -> None:
        """Give back the rows of processes of an earlier master: at once, or when they die."""
        for pid in {self._words[row + _ROWS] for row in self._rows()}:
            try:
                pidfd = os.pidfd_open(pid) if self._is_mapped_by(pid) else -1
            except (OSError, OverflowError):
                pidfd = -1
            if pidfd < 0:
                self.forget(pid)
            else:
                reactor.add(pidfd, READ, self._farewell(reactor, pidfd, pid))

    def _farewell(self, reactor: Reactor, pidfd: int, pid: int) -> Callable[[int], None]:
        def on_end(_events: int) -> None:
            reactor.remove(pidfd)
            os.close(pidfd)
            self.forget(pid)

        return on_end

    def _rows(self) -> list[Row]:
        words = self._words
        found = []
        for start in range(0, self._buckets * _STRIDE, _STRIDE):
            hashes = words[start + 1 : start + 1 + _ROWS].tolist()
            if any(hashes):
                found += [start + 1 + at for at, one in enumerate(hashes) if one]
        return found

    def _is_mapped_by(self, pid: int) -> bool:
        """Whether a process is one of ours: its number alone may have gone to another since."""
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
                return any(line.rstrip().endswith(" " + self._path) for line in maps)
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file, when no session is left that it counts; who has it mapped goes on."""
        if not self._rows():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
