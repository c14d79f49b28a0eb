"""What a service manager has kept of sessions since the last stop, and how it comes back to workers."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.ipc.handover import parse_relay
from mailproxy.ipc.stored_relays import StoredRelay, parse_stored
from mailproxy.net.fd_passing import close_all, send_packet
from mailproxy.net.pipes import PIPE_BYTES
from mailproxy.net.reactor import Reactor
from mailproxy.process.activation import Passed
from mailproxy.process.deposit import LISTENER, RELAY, RELAY_SOCKETS, STATE, Kept
from mailproxy.process.service_manager import ServiceManager

# The workers have not taken what came before yet.
_FEED_AGAIN_S = 0.01
_LATER = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS)


def is_of_sessions(passed: Passed) -> bool:
    """Whether this descriptor is one that `deposit` has stored for a session."""
    return passed[0] in (RELAY, STATE)


def empty(manager: ServiceManager) -> None:
    """Have the manager let go of everything that it keeps for us, which we have by now."""
    for name in (LISTENER, RELAY, STATE):
        manager.forget(name)


def take_back(passed: Sequence[Passed]) -> tuple[list[Kept], int]:
    """Return the relays that were kept, and how many descriptors belong to none of them; those are closed."""
    sockets: dict[int, int] = {}
    states, lost = [], 0
    for name, fd in passed:
        status = os.fstat(fd)
        if name == RELAY and stat.S_ISSOCK(status.st_mode):
            sockets[status.st_ino] = fd
        elif name == STATE and stat.S_ISREG(status.st_mode):
            states.append(_read_state(fd))
        else:
            os.close(fd)
            lost += 1
    relays = []
    for stored in (relay for state in states for relay in state):
        if len(sockets.keys() & {*stored.sockets}) == RELAY_SOCKETS:
            kept = _restore(stored, [sockets.pop(inode) for inode in stored.sockets])
            if kept is not None:
                relays.append(kept)
            else:
                lost += RELAY_SOCKETS
    close_all(list(sockets.values()))
    return relays, lost + len(sockets)


def _read_state(fd: int) -> list[StoredRelay]:
    """Read and close a file of relays; what sockets are left tells that it could not be read."""
    with open(fd, "rb") as file, contextlib.suppress(OSError, PeerViolation):
        file.seek(0)
        return parse_stored(file.read())
    return []


def _restore(stored: StoredRelay, sockets: list[int]) -> Kept | None:
    """Put a relay together again; None, and its descriptors are closed, when a worker could not use it."""
    fds = sockets
    try:
        for held in stored.held:
            fds += _filled_pipe(held)
        handed = parse_relay(stored.packet)
        held_bytes = [way["held_bytes"] for way in (handed.up, handed.down) if way.get("held_bytes")]
        if held_bytes != [len(held) for held in stored.held]:
            raise PeerViolation("a relay came with other bytes than it has")
    except (OSError, PeerViolation):
        close_all(fds)
        return None
    return Kept(stored.protocol, stored.packet, fds)


def _filled_pipe(held: bytes) -> tuple[int, int]:
    """Return both ends of a pipe in which these bytes wait. Raises OSError."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        if os.write(write_fd, held) < len(held):
            raise OSError(errno.ENOSPC, "the pipe is too small")
    except OSError:
        close_all([read_fd, write_fd])
        raise
    return read_fd, write_fd


class Feeder:
    """Feeds relays to workers, by protocol through the outlets, which it owns and closes at the end."""

    def __init__(
        self,
        reactor: Reactor,
        outlets: Mapping[str, socket.socket],
        kept: Sequence[Kept],
        log: Callable[[Level, str], None],
    ) -> None:
        self._reactor = reactor
        self._outlets = dict(outlets)
        self._waiting: dict[str, deque[Kept]] = {protocol: deque() for protocol in outlets}
        unwanted = [one for one in kept if one.protocol not in outlets]
        for one in kept:
            if one.protocol in outlets:
                self._waiting[one.protocol].append(one)
        for one in unwanted:
            close_all(one.fds)
        if unwanted:
            log(Level.WARNING, f"{len(unwanted)} sessions of a protocol that is served no more have ended")

    def give_up(self) -> list[Kept]:
        """Feed no more; returns what has not been fed, whose descriptors are the caller's."""
        rest = [one for waiting in self._waiting.values() for one in waiting]
        for protocol in list(self._outlets):
            self._outlets.pop(protocol).close()
        return rest

    @property
    def is_over(self) -> bool:
        """Whether all have been fed."""
        return not self._outlets

    def feed(self) -> None:
        """Feed from now on, until all have been fed."""
        for protocol, outlet in list(self._outlets.items()):
            if self._feed(outlet, self._waiting[protocol]):
                del self._outlets[protocol]
                outlet.close()
        if self._outlets:
            self._reactor.call_later(_FEED_AGAIN_S, self.feed)

    @staticmethod
    def _feed(outlet: socket.socket, waiting: deque[Kept]) -> bool:
        """Send what the socket takes; True when that was all."""
        while waiting:
            try:
                send_packet(outlet, waiting[0].packet, waiting[0].fds)
            except OSError as error:
                if error.errno in _LATER:
                    return False
            close_all(waiting.popleft().fds)
        return True
