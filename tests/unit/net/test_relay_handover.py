"""A relay goes from one process to another in the middle of anything; here from one reactor to another."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from mailproxy.net.pipes import PipePool
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.relay import Relay
from tests.unit.net.test_relay import push, read_all, read_exactly, send_in_chunks, tcp_pair

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
    wanderer.hop()
    pipe = wanderer.relay.down.pipe
    assert pipe is not None
    of_old_worker = os.fstat(pipe.read_fd).st_ino
    wanderer.backend.shutdown(socket.SHUT_WR)
    reader = threading.Thread(target=lambda: read_all(wanderer.client))
    reader.start()
    while reader.is_alive():
        wanderer.turn()
    later = wanderer.pipes.borrow()
    assert later is not None
    assert os.fstat(later.read_fd).st_ino != of_old_worker
    later.close()


def test_what_the_login_left_for_a_client_who_does_not_read() -> None:
    """F12: bytes that are in this process's memory go along."""
    leftover = random.Random(5).randbytes(32 * _MIB)
    wanderer = Wanderer(to_client=leftover)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read_exactly(wanderer.client, len(leftover))))
    wanderer.hop()
    reader.start()
    while reader.is_alive():
        wanderer.turn()
        wanderer.hop()
    assert wanderer.pended
    assert hashlib.sha256(got[0]).digest() == hashlib.sha256(leftover).digest()
    wanderer.close()


@pytest.mark.parametrize("client_first", [True, False])
def test_half_closed(wanderer: Wanderer, client_first: bool) -> None:
    """F12: the way that is left lives on, the end is not said twice, and who left first is remembered."""
    first, last = wanderer.client, wanderer.backend
    if not client_first:
        first, last = last, first
    first.sendall(b"farewell")
    first.shutdown(socket.SHUT_WR)
    for _ in range(5):
        wanderer.turn()
    assert read_all(last) == b"farewell"
    for _ in range(3):
        wanderer.hop()
    last.sendall(b"still here")
    wanderer.turn()
    assert read_exactly(first, 10) == b"still here"
    last.shutdown(socket.SHUT_WR)
    while not wanderer.ended:
        wanderer.turn()
        wanderer.hop()
    assert wanderer.relay.up.ended_first is client_first
    assert wanderer.relay.down.ended_first is not client_first


def test_idle_and_gone(wanderer: Wanderer) -> None:
    """F12: whoever left while nobody looked is missed at once."""
    state = wanderer.relay.export()
    assert state is not None
    assert len(state.fds) == 2
    wanderer.client.close()
    wanderer.backend.close()
    wanderer.hop()
    for _ in range(3):
        wanderer.turn(1)
    assert wanderer.ended


def test_the_end_before_the_other_process_has_let_go(wanderer: Wanderer) -> None:
    """F12: its copies keep the sockets alive, and no event of them may reach anybody here."""
    state = wanderer.relay.export()
    assert state is not None
    copies = [os.dup(fd) for fd in state.fds]
    wanderer.hop()
    wanderer.client.close()
    wanderer.backend.shutdown(socket.SHUT_WR)
    while not wanderer.ended:
        wanderer.turn()
    for _ in range(3):
        wanderer.turn(0)
    for copy in copies:
        os.close(copy)
