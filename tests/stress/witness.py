"""What processes look like from outside, before a storm and after it."""

from __future__ import annotations

import time
from typing import NamedTuple

import psutil

from tests.harness.arena import Arena
from tests.harness.wait import wait_until
from tests.stress.figures import Figures

_REST_S = 15.0
# What an allocator may keep after a storm; what leaks with each login or reload is more.
_MEMORY_SLACK_KIB = {"master": 1024, "auth": 4096, "imap-login": 4096, "pop3-login": 4096}
# A worker keeps some pipes for its next relays, auth a connection to the database for each of its threads.
_IDLE_FDS = {"auth": 30, "imap-login": 16, "pop3-login": 16}

_LISTEN = "0A"  # /proc/net/tcp


class Look(NamedTuple):
    """A process at a moment."""

    pid: int
    role: str
    fds: int
    rss_kib: int
    is_zombie: bool


class Witness:
    """Knows how a tree looked when it had warmed up, and notes how it looks after a scenario."""

    def __init__(self, arena: Arena, roles: tuple[str, ...] = ("auth", "imap-login", "pop3-login")) -> None:
        self._arena = arena
        self._roles = {"master", *roles}
        self._before = self._at_rest()

    def look(self) -> list[Look]:
        """Return everything that the proxy ever started and that is still there."""
        found = []
        for process in self._arena.proxy.every_process():
            try:
                title = process.cmdline()
                role = title[0].removeprefix("mailproxy: ").split("(")[0].split(" ")[0] if title else ""
                is_zombie = process.status() == psutil.STATUS_ZOMBIE
                fds = 0 if is_zombie else process.num_fds()
                found.append(Look(process.pid, role, fds, process.memory_info().rss >> 10, is_zombie))
            except psutil.NoSuchProcess:
                continue
        logins = sum(look.role.endswith("-login") for look in found)
        # The master has a channel to each child, auth a connection of each login process.
        peers = {"master": len(found) - 1, "auth": logins}
        return [look._replace(fds=look.fds - peers.get(look.role, 0)) for look in found]

    def _at_rest(self) -> list[Look]:
        """Look when all connections have ended and all that were forked stand ready."""
        found: list[Look] = []

        def is_at_rest() -> bool:
            before = list(found)
            found[:] = self.look()
            return self._is_quiet() and [(o.pid, o.fds) for o in before] == [(o.pid, o.fds) for o in found]

        wait_until("the tree is at rest", is_at_rest, _REST_S)
        return found

    def _is_quiet(self) -> bool:
        """Whether nobody is connected to us; psutil would look into every process of the machine for it."""
        ports = [f":{port:04X} " for port in (self._arena.proxy.imap_port, self._arena.proxy.pop3_port)]
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table if any(port in line for port in ports)]
        # An address, that of the peer, the state; the tenth is the inode, 0 where no process has the socket.
        return not any(row[3] != _LISTEN and row[9] != "0" and f"{row[1][-5:]} " in ports for row in rows)

    def note(self, figures: Figures) -> None:
        """Compare with before: roles, zombies, orphans, descriptors, memory and the log."""
        now = self._at_rest()
        roles = {look.role for look in now}
        text = self._arena.proxy.log_text()
        wrong = [
            *(f"no {role}" for role in self._roles - roles),
            *(f"a process {role!r}" for role in roles - self._roles),
            *(f"zombie {look.pid}" for look in now if look.is_zombie),
            *(f"orphan {pid}" for pid in self._orphans(now)),
            *(line for line in text.splitlines() if "Traceback" in line or "BUG:" in line),
        ]
        figures.none("roles missing, zombies, orphans, tracebacks", wrong)
        self._note_growth(figures, "fds", now, "descriptors as before but for idle ones", _IDLE_FDS)
        self._note_growth(
            figures, "rss_kib", now, "memory growth < 4096 KiB, of the master < 1024 KiB", _MEMORY_SLACK_KIB
        )

    def _note_growth(
        self, figures: Figures, name: str, now: list[Look], asked: str, slack: dict[str, int]
    ) -> None:
        before, after = self._most(self._before, name), self._most(now, name)
        grown = {role: after[role] - before[role] for role in before if role in after}
        said = ", ".join(f"{role} {_signed(count)}" for role, count in sorted(grown.items()))
        figures.note(asked, said, all(count <= slack.get(role, 0) for role, count in grown.items()))

    @staticmethod
    def _most(looks: list[Look], name: str) -> dict[str, int]:
        """Return the highest value of each role."""
        return {
            role: max(getattr(o, name) for o in looks if o.role == role) for role in {o.role for o in looks}
        }

    def _orphans(self, looks: list[Look]) -> list[int]:
        """Return children whose parent is no process of ours."""
        ours = {look.pid for look in looks}
        found = []
        for look in looks:
            try:
                parent = psutil.Process(look.pid).ppid()
            except psutil.NoSuchProcess:
                continue
            if look.role != "master" and parent not in ours:
                found.append(look.pid)
        return found


def _signed(count: int) -> str:
    return f"{count:+d}" if count else "±0"


def private_kib(processes: list[psutil.Process]) -> int:
    """Return the memory that these do not share with anybody."""
    found = 0
    for process in processes:
        try:
            found += process.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue
    return found >> 10


def clients_of(process: psutil.Process, port: int) -> set[tuple[str, int]]:
    """Return the addresses of the clients that it carries, who came to `port`."""
    return {
        (connection.raddr.ip, connection.raddr.port)
        for connection in process.net_connections("tcp4")
        if connection.raddr and connection.laddr.port == port
    }


def until(deadline_s: float) -> None:
    """Let a load run that long; there is nothing to watch but the clock."""
    time.sleep(max(0.0, deadline_s - time.monotonic()))
