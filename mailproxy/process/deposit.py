"""Sessions that outlive a restart: what a service manager keeps of them while no process of ours has them.

At a stop the workers hand their plain relays over as in an upgrade, only that the master takes them. It does
not look into the packets: they go into a file in memory, which is stored with the sockets and the listeners
(sd_notify(3), FDSTORE). A stop that is no restart ends the same way: then the manager closes what it has, and
with that the sessions.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mailproxy.base.level import Level
from mailproxy.ipc.handover import PACKET_BYTES
from mailproxy.ipc.status import Order
from mailproxy.ipc.stored_relays import StoredRelay, render_stored
from mailproxy.net.fd_passing import close_all, receive_packet
from mailproxy.net.pipes import PIPE_BYTES
from mailproxy.process.listeners import Listeners
from mailproxy.process.service_manager import ServiceManager
from mailproxy.process.spawner import Child

Log = Callable[[Level, str], None]

LISTENER = "mailproxy-listener"
RELAY = "mailproxy-session"
STATE = "mailproxy-state"
RELAY_SOCKETS = 2
# For logins whose password was accepted to become relays, and for workers to hand over what they have.
_GATHER_S = 5.0
_LOOK_S = 0.05
_FDS_PER_MESSAGE = 200


class Kept(NamedTuple):
    """A relay that no worker has: its packet, and the descriptors that go with it, which are ours."""

    protocol: str
    packet: bytes
    fds: list[int]


def store_all(
    manager: ServiceManager,
    listeners: Listeners,
    workers: Sequence[Child],
    unfed: Sequence[Kept],
    leave: bytes,
    log: Log,
    on_turn: Callable[[], None],
) -> None:
    """Give the manager the listeners, `unfed` and what the workers hand over; see `gather` and `put_away`."""
    listening = [listener.fileno() for listener in listeners.by_address.values()][:_FDS_PER_MESSAGE]
    manager.store(LISTENER, listening)
    kept = [*unfed, *gather(workers, leave, on_turn)]
    # Of the start before: no worker has taken these yet, and none will any more.
    for protocol, inlet in listeners.inlets.items():
        while _take(protocol, inlet, kept):
            pass
    put_away(manager, kept, manager.store_limit_fds - len(listening), log)


def gather(workers: Sequence[Child], leave: bytes, on_turn: Callable[[], None]) -> list[Kept]:
    """Have these workers end the logins and hand over their relays; waits until they have, for 5 s at most.

    `leave` is the argument of the order LEAVE: for how long those live on who cannot be handed over.
    `on_turn` is called now and then.
    """
    inlets: dict[int, tuple[str, socket.socket]] = {}
    for role in {worker.role for worker in workers}:
        inlet, outlet = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inlets[inlet.fileno()] = role.removesuffix("-login"), inlet
        for worker in workers:
            if worker.role == role:
                worker.order(Order.LEAVE, leave)
                worker.order(Order.HAND_OVER, fds=[outlet.fileno()])
        outlet.close()
    kept: list[Kept] = []
    poll = select.poll()
    for fd in inlets:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + _GATHER_S
    while inlets and time.monotonic() < deadline:
        for fd, _ in poll.poll(_LOOK_S * 1000):
            if not _take(*inlets[fd], kept):
                poll.unregister(fd)
                inlets.pop(fd)[1].close()
        on_turn()
    for _, inlet in inlets.values():
        inlet.close()
    return kept


def _take(protocol: str, inlet: socket.socket, kept: list[Kept]) -> bool:
    """Take one relay; False when none is there, which of an inlet that is readable means the end."""
    try:
        packet, fds = receive_packet(inlet, PACKET_BYTES + 1)
    except ValueError:
        return True
    except OSError:
        return False
    if packet:
        kept.append(Kept(protocol, packet, fds))
    return bool(packet)


def put_away(manager: ServiceManager, kept: Sequence[Kept], room_fds: int, log: Log) -> None:
    """Give the manager relays to keep, as many as it has room for, and close them here."""
    fitting = kept[: max(room_fds - 1, 0) // RELAY_SOCKETS]
    stored = [_describe(one) for one in fitting]
    is_kept = bool(fitting) and _store_state(manager, render_stored(stored))
    sockets = [fd for one in fitting for fd in one.fds[:RELAY_SOCKETS]]
    for at in range(0, len(sockets), _FDS_PER_MESSAGE):
        is_kept = is_kept and manager.store(RELAY, sockets[at : at + _FDS_PER_MESSAGE])
    is_kept = manager.barrier() and is_kept
    for one in kept:
        close_all(one.fds)
    if is_kept:
        log(Level.INFO, f"{len(fitting)} sessions wait in the service manager's store")
    elif fitting:
        log(Level.ERROR, "The service manager does not take what it is to store; sessions may be lost")
    if len(fitting) < len(kept):
        lost = len(kept) - len(fitting)
        log(Level.WARNING, f"{lost} sessions are lost: FileDescriptorStoreMax of the unit is too small")


def _describe(kept: Kept) -> StoredRelay:
    inodes = tuple(os.fstat(fd).st_ino for fd in kept.fds[:RELAY_SOCKETS])
    # A manager takes both ends of a pipe for the same, and keeps one of them: the bytes have to go along.
    held = tuple(_read_all(fd) for fd in kept.fds[RELAY_SOCKETS::2])
    return StoredRelay(kept.protocol, inodes, held, kept.packet)


def _read_all(pipe_fd: int) -> bytes:
    pieces = []
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(pipe_fd, PIPE_BYTES):
            pieces.append(piece)
    return b"".join(pieces)


def _store_state(manager: ServiceManager, data: bytes) -> bool:
    fd = os.memfd_create(STATE, os.MFD_CLOEXEC)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        return manager.store(STATE, [fd])
