"""A relay goes from one process to another in the middle of anything; here from one reactor to another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from socket import SocketType

import pytest

from mailproxy.net.pipes import PIPE_BYTES, PipePool, take_from_pipe
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.relay import Relay
from tests.unit.net.relay_peers import push, read_all, read_exactly, send_in_chunks, tcp_pair

_MIB = 1 << 20


class Wanderer:
    """A relay whose reactor is another one after each `hop`."""

    def __init__(self, to_backend: bytes = b"", to_client: bytes = b"") -> None:
        self.client, ours_c = tcp_pair()
        self.backend, ours_b = tcp_pair()
        self.reactor, self.pipes = Reactor(), PipePool()
        self.ended: list[Relay] = []
        for sock in (ours_c, ours_b):
            sock.setblocking(False)
            self.reactor.add(sock.fileno(), READ, lambda _events: None)
        self.relay = Relay(self.reactor, self.pipes, ours_c, ours_b, self.ended.append)
        self.relay.start(to_backend, to_client)
        self.held = self.pended = 0

    def turn(self, limit_s: float = 0.05) -> None:
        self.reactor.run_once(limit_s)

    def hop(self) -> None:
        """Go over, by duplicates of the descriptors as a Unix socket makes them."""
        if self.ended:
            return
        state = self.relay.export()
        assert state is not None
        self.held += bool(state.up.held_bytes or state.down.held_bytes)
        self.pended += bool(state.up.pending or state.down.pending)
        state = state._replace(fds=tuple(os.dup(fd) for fd in state.fds))
        self.relay.let_go()
        self.reactor.run_once(0)  # nothing of it is left there
        self.reactor.close()
        self.reactor, self.pipes = Reactor(), PipePool()
        self.relay = Relay.adopt(self.reactor, self.pipes, state, self.ended.append)
        self.relay.resume()

    def close(self) -> None:
        self.client.close()
        self.backend.close()
        if not self.ended:
            self.relay.close()
        self.reactor.close()


@pytest.fixture
def wanderer() -> Iterator[Wanderer]:
    found = Wanderer()
    yield found
    found.close()


@pytest.mark.parametrize("seed", range(3))
def test_every_byte_of_a_busy_relay(wanderer: Wanderer, seed: int) -> None:
    """F12: random chunks both ways, handed over between any two batches."""
    up, down = random.Random(seed).randbytes(8 * _MIB), random.Random(-seed - 1).randbytes(8 * _MIB)
    got: dict[str, bytes] = {}
    threads = [
        threading.Thread(target=send_in_chunks, args=(wanderer.client, up, seed)),
        threading.Thread(target=send_in_chunks, args=(wanderer.backend, down, seed + 1)),
        threading.Thread(target=lambda: got.update(up=read_all(wanderer.backend))),
        threading.Thread(target=lambda: got.update(down=read_all(wanderer.client))),
    ]
    for thread in threads:
        thread.start()
    dice, hops = random.Random(seed), 0
    while not wanderer.ended:
        wanderer.turn()
        if dice.random() < 0.8:
            wanderer.hop()
            hops += 1
    for thread in threads:
        thread.join(30)
    assert hops > 3
    assert hashlib.sha256(got["up"]).digest() == hashlib.sha256(up).digest()
    assert hashlib.sha256(got["down"]).digest() == hashlib.sha256(down).digest()
    assert (wanderer.relay.up.total_bytes, wanderer.relay.down.total_bytes) == (len(up), len(down))


def test_what_waits_in_a_pipe_for_a_slow_reader(wanderer: Wanderer) -> None:
    """F12: it is neither lost nor sent twice, and counted once."""
    sent = 0
    pusher = threading.Thread(target=lambda: totals.append(push(wanderer.backend)))
    totals: list[int] = []
    pusher.start()
    while pusher.is_alive():
        wanderer.turn()
    wanderer.hop()
    assert wanderer.held == 1
    (sent,) = totals
    wanderer.backend.shutdown(socket.SHUT_WR)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read_exactly(wanderer.client, sent)))
    reader.start()
    while reader.is_alive():
        wanderer.turn()
        wanderer.hop()
    assert len(got[0]) == sent == wanderer.relay.down.total_bytes
    wanderer.client.close()
    while not wanderer.ended:
        wanderer.turn()
    assert wanderer.relay.down.ended_first


def test_a_pipe_of_another_process_serves_nobody_else(wanderer: Wanderer) -> None:
    """V16: whoever handed it over may have kept its ends."""
    pusher = threading.Thread(target=lambda: push(wanderer.backend))
    pusher.start()
    while pusher.is_alive():
        wanderer.turn()
    pipe = wanderer.relay.down.pipe
    assert pipe is not None
    of_old_worker = os.fstat(pipe.read_fd).st_ino
    wanderer.hop()
    assert wanderer.held == 1
    mine = [os.stat(f"/proc/self/fd/{fd}").st_ino for fd in os.listdir("/proc/self/fd") if is_open(fd)]
    assert of_old_worker not in mine


def is_open(fd: str) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


@pytest.fixture
def patience() -> Iterator[None]:
    """End a call that waits, after a second."""

    def stop(*_arguments: object) -> None:
        raise AssertionError("a call has waited")

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("chunk_bytes", [1000, 100_000])
def test_sockets_that_another_process_sets_blocking(
    wanderer: Wanderer, patience: None, chunk_bytes: int
) -> None:
    """V16: by an old worker's copies. The reader takes nothing, the other is silent; no call waits."""
    kept = [os.dup(fd) for fd in (wanderer.relay.up.source_fd, wanderer.relay.down.source_fd)]
    try:
        wanderer.hop()
        wanderer.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                for fd in kept:
                    os.set_blocking(fd, True)
                wanderer.client.send(b"x" * chunk_bytes)
                signal.setitimer(signal.ITIMER_REAL, 1)
                wanderer.turn(0)
        signal.setitimer(signal.ITIMER_REAL, 1)
        wanderer.relay.up.move(wanderer.pipes)
        wanderer.relay.down.move(wanderer.pipes)
        assert wanderer.relay.up.is_stalled
        assert wanderer.backend.recv(1) == b"x"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for fd in kept:
            os.close(fd)


def test_a_pipe_that_another_process_has_emptied(patience: None) -> None:
    """V16: set blocking too; it costs him his own relay."""
    read_fd, write_fd = os.pipe()
    signal.setitimer(signal.ITIMER_REAL, 1)
    assert take_from_pipe(os.dup(read_fd), os.dup(write_fd), 5) is None
    os.write(write_fd, b"held")
    assert take_from_pipe(os.dup(read_fd), os.dup(write_fd), 4) == b"held"
    assert take_from_pipe(read_fd, write_fd, PIPE_BYTES + 1) is None
    assert not is_open(str(read_fd))


def test_a_socket_that_another_process_has_made_linger(wanderer: Wanderer, patience: None) -> None:
    """V16: closing it does not wait for a reader who takes nothing."""
    wanderer.hop()
    pusher = threading.Thread(target=lambda: push(wanderer.client))
    pusher.start()
    while pusher.is_alive():
        wanderer.turn()
    backend = wanderer.relay.down.source
    assert isinstance(backend, SocketType)
    backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    signal.setitimer(signal.ITIMER_REAL, 1)
    wanderer.relay.close()
    assert wanderer.ended
