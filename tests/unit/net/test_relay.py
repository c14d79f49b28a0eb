"""The relay between real TCP connections."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mailproxy.net.direction import _LITTLE_BYTES, _SMALL_BYTES
from mailproxy.net.pipes import PipePool
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.relay import Relay
from tests.harness.packets import packets
from tests.harness.wait import wait_until
from tests.unit.net.relay_peers import (
    MIB,
    Line,
    push,
    read_all,
    read_exactly,
    reset,
    resident_kib,
    send_in_chunks,
    tcp_pair,
)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@pytest.mark.parametrize("seed", range(4))
def test_every_byte_both_ways(line: Line, seed: int) -> None:
    """R01: random chunks of random bytes, both ways at once, arrive with equal hashes."""
    up, down = random.Random(seed).randbytes(24 * MIB), random.Random(-seed - 1).randbytes(24 * MIB)
    senders = [
        threading.Thread(target=send_in_chunks, args=(line.client, up, seed)),
        threading.Thread(target=send_in_chunks, args=(line.backend, down, seed + 1)),
    ]
    got: dict[str, bytes] = {}
    readers = [
        threading.Thread(target=lambda: got.update(up=read_all(line.backend))),
        threading.Thread(target=lambda: got.update(down=read_all(line.client))),
    ]
    for thread in (*senders, *readers):
        thread.start()
    for thread in (*senders, *readers):
        thread.join(60)
    assert hashlib.sha256(got["up"]).digest() == hashlib.sha256(up).digest()
    assert hashlib.sha256(got["down"]).digest() == hashlib.sha256(down).digest()
    wait_until("the relay has ended", lambda: line.ended)
    assert (line.relay.up.total_bytes, line.relay.down.total_bytes) == (len(up), len(down))


@pytest.mark.parametrize("downwards", [True, False])
def test_a_stopped_reader_stops_the_sender(line: Line, downwards: bool) -> None:
    """R02, R03: memory stays where it is, the loop sleeps, and everything arrives later."""
    source, reader = (line.backend, line.client) if downwards else (line.client, line.backend)
    before_kib = resident_kib()
    taken = push(source)
    assert taken < 32 * MIB
    assert resident_kib() - before_kib < 1024
    assert line.batches_in(0.3) <= 10
    source.shutdown(socket.SHUT_WR)
    assert len(read_all(reader)) == taken


@pytest.mark.parametrize("read_bytes", [_LITTLE_BYTES, _SMALL_BYTES, _LITTLE_BYTES + _SMALL_BYTES])
def test_answers_about_as_long_as_a_read(line: Line, read_bytes: int) -> None:
    for size in (read_bytes - 1, read_bytes, read_bytes + 1):
        data = random.Random(size).randbytes(size)
        for sender, reader in ((line.client, line.backend), (line.backend, line.client)):
            sender.sendall(data)
            assert read_exactly(reader, size) == data
    # First, since bytes are counted when they are passed on already.
    assert line.batches_in(0.2) <= 4
    assert line.relay.up.total_bytes == line.relay.down.total_bytes == 3 * read_bytes


@pytest.mark.parametrize("client_first", [True, False])
@pytest.mark.parametrize("size", [0, 10, 4096, 3 * MIB])
def test_half_close(line: Line, client_first: bool, size: int) -> None:
    """R04, R05: the end comes after the bytes, and the other direction lives on until its own."""
    first, second = (line.client, line.backend) if client_first else (line.backend, line.client)
    data = random.Random(size).randbytes(size)
    sender = threading.Thread(target=send_in_chunks, args=(first, data, size))
    sender.start()
    assert read_all(second) == data
    sender.join()
    for word in (b"still", b"here"):
        second.sendall(word)
        assert read_exactly(first, len(word)) == word
    assert not line.ended
    assert line.batches_in(0.2) <= 6
    second.shutdown(socket.SHUT_WR)
    assert first.recv(1) == b""
    wait_until("the relay has ended", lambda: line.ended)
    assert (line.relay.up.ended_first, line.relay.down.ended_first) == (client_first, not client_first)


def test_a_last_word_and_the_end_behind_it_take_one_packet() -> None:
    def say_goodbye(line: Line) -> None:
        line.backend.sendall(b"* BYE\r\n")
        line.backend.shutdown(socket.SHUT_WR)

    line = Line(before=say_goodbye)
    try:
        assert read_all(line.client) == b"* BYE\r\n"
        assert packets(line.client).received == 2, "more than that to accept, and one to end"
        line.client.sendall(b"still here")
        assert read_exactly(line.backend, 10) == b"still here"
    finally:
        line.close()


def test_last_words_reach_who_is_still_sending() -> None:
    """R10: both ways end in one turn, with more of his unread: the kernel answers that by a reset."""
    (client, near), (far, backend) = tcp_pair(), tcp_pair()
    for sock in (near, far):
        sock.setblocking(False)
    reactor = Reactor()
    ended: list[Relay] = []
    relay = Relay(reactor, PipePool(), near, far, ended.append)
    for sock in (near, far):
        reactor.add(sock.fileno(), READ, lambda _events: None)
    relay.start(b"", b"")
    backend.sendall(b"* BYE\r\n")
    reset(backend)
    client.sendall(bytes(10_000))
    while not ended:
        reactor.run_once(0.05)
    assert client.recv(100) == b"* BYE\r\n"
    client.close()
    reactor.close()


def test_ping_pong(line: Line) -> None:
    """R06: ten thousand single bytes, none near the 40 ms of a delayed acknowledgement."""
    took_s = []
    for number in range(10_000):
        start = time.perf_counter()
        line.client.send(bytes([number & 255]))
        line.backend.recv(1)
        line.backend.send(b"x")
        line.client.recv(1)
        took_s.append(time.perf_counter() - start)
    took_s.sort()
    assert took_s[9900] < 0.005
    assert took_s[9990] < 0.040


def test_both_directions_full(line: Line) -> None:
    """R07: with both ways full, either moves as soon as its own reader reads."""
    sent = {"up": push(line.client), "down": push(line.backend)}
    assert line.batches_in(0.3) <= 10
    line.backend.shutdown(socket.SHUT_WR)
    assert len(read_all(line.client)) == sent["down"]
    line.client.shutdown(socket.SHUT_WR)
    assert len(read_all(line.backend)) == sent["up"]
    wait_until("the relay has ended", lambda: line.ended)


@pytest.mark.parametrize("seed", range(40))
def test_leftovers_come_first_and_once(seed: int) -> None:
    """R09: what the login left over, what is in the socket by then, and what comes later: in order."""
    dice = random.Random(seed)
    up, down = dice.randbytes(dice.randrange(1, 20_000)), dice.randbytes(dice.randrange(1, 20_000))
    cuts_up = sorted(dice.randrange(len(up) + 1) for _ in range(2))
    cuts_down = sorted(dice.randrange(len(down) + 1) for _ in range(2))

    def before(line: Line) -> None:
        line.client.sendall(up[cuts_up[0] : cuts_up[1]])
        line.backend.sendall(down[cuts_down[0] : cuts_down[1]])

    line = Line(up[: cuts_up[0]], down[: cuts_down[0]], before)
    line.client.sendall(up[cuts_up[1] :])
    line.backend.sendall(down[cuts_down[1] :])
    line.client.shutdown(socket.SHUT_WR)
    line.backend.shutdown(socket.SHUT_WR)
    assert read_all(line.backend) == up
    assert read_all(line.client) == down
    line.close()


def test_leftover_to_a_full_client() -> None:
    """R09: a leftover waits for a client who does not read, and still comes first."""
    filled: list[int] = []

    def before(line: Line) -> None:
        ours = line.relay.up.source
        while True:
            try:
                filled.append(ours.send(bytes(65536)))
            except BlockingIOError:
                return

    line = Line(b"", b"LEFTOVER", before)
    line.backend.sendall(b"later")
    read_exactly(line.client, sum(filled))
    assert read_exactly(line.client, 13) == b"LEFTOVERlater"
    line.close()


@pytest.mark.parametrize("by_client", [True, False])
def test_reset(line: Line, by_client: bool) -> None:
    """R10: the other side sees the end at once, and the log can tell who went."""
    gone, other = (line.client, line.backend) if by_client else (line.backend, line.client)
    start = time.monotonic()
    reset(gone)
    assert other.recv(1) == b""
    assert time.monotonic() - start < 1
    wait_until("the relay has ended", lambda: line.ended)
    assert (line.relay.up.ended_first, line.relay.down.ended_first) == (by_client, not by_client)


@pytest.mark.parametrize("by_client", [True, False])
def test_what_came_before_a_reset_is_delivered(line: Line, by_client: bool) -> None:
    """R10: bytes that were read before the peer broke down reach the other side."""
    gone, other = (line.client, line.backend) if by_client else (line.backend, line.client)
    gone.sendall(b"last words")
    assert other.recv(10) == b"last words"
    reset(gone)
    assert other.recv(1) == b""


@pytest.mark.parametrize("by_reset", [True, False])
@pytest.mark.parametrize("client_leaves", [True, False])
def test_no_spinning_while_one_is_gone_and_the_other_stalls(
    line: Line, client_leaves: bool, by_reset: bool
) -> None:
    """S6: hang-up is told for ever; a relay that waits for the other side must not listen to it."""
    gone, stalled = (line.client, line.backend) if client_leaves else (line.backend, line.client)
    taken = push(gone)
    if by_reset:
        reset(gone)
    else:
        gone.close()
    assert line.batches_in(0.3) <= 12
    # The sender is gone with unread bytes of ours or without: what the relay had read is delivered.
    got = len(read_all(stalled))
    if by_reset:
        assert 0 < got <= taken
    else:
        assert got == taken
    stalled.close()
    wait_until("the relay has ended", lambda: line.ended)


@pytest.mark.parametrize("client_leaves", [True, False])
def test_no_spinning_when_the_stalled_reader_is_reset(line: Line, client_leaves: bool) -> None:
    reader, source = (line.client, line.backend) if client_leaves else (line.backend, line.client)
    push(source)
    reset(reader)
    assert line.batches_in(0.3) <= 15
    source.close()
    wait_until("the relay has ended", lambda: line.ended)


def test_bulk_and_small_by_turns(line: Line) -> None:
    """A direction that slows down gives its pipe back; an idle relay holds none."""
    dice = random.Random(7)
    for _ in range(20):
        for size in (dice.randrange(1, 4096), 4096, 4097, 8192, dice.randrange(100_000, 2_000_000)):
            data = dice.randbytes(size)
            sender = threading.Thread(target=line.client.sendall, args=(data,))
            sender.start()
            assert read_exactly(line.backend, size) == data
            sender.join()
        line.client.send(b"small")
        assert read_exactly(line.backend, 5) == b"small"
        wait_until("the pipe is given back", lambda: line.relay.up.pipe is None)
        line.client.send(b"again")
        assert read_exactly(line.backend, 5) == b"again"
    wait_until("the direction is small again", lambda: not line.relay.up.is_bulk)


def test_idle_pipes_are_few() -> None:
    pool = PipePool()
    pipes = [pool.borrow() for _ in range(50)]
    for pipe in pipes:
        assert pipe is not None
        pool.give_back(pipe)
    assert len(pool._idle) == 8
    held = pool.borrow()
    assert held is not None
    os.write(held.write_fd, b"someone's")
    held.held_bytes = 9
    pool.give_back(held)
    assert len(pool._idle) == 7
    for idle in pool._idle:
        idle.close()


class _NoPipes(PipePool):
    """As if the process had no descriptor left."""

    def borrow(self) -> None:
        return None


def test_without_pipes_it_copies() -> None:
    """X05: bulk data pass when no descriptor is free for a pipe, only slower."""
    line = Line(pipes=_NoPipes())
    data = random.Random(1).randbytes(2 * MIB)
    sender = threading.Thread(target=send_in_chunks, args=(line.client, data, 5))
    sender.start()
    assert read_all(line.backend) == data
    sender.join()
    line.close()


def test_borrowing_at_the_descriptor_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """X05: EMFILE is no pipe, anything else an error."""

    def fail(_flags: int) -> tuple[int, int]:
        raise OSError(codes.pop(0), "no")

    monkeypatch.setattr(os, "pipe2", fail)
    codes = [errno.EMFILE, errno.ENFILE, errno.EINVAL]
    pool = PipePool()
    assert pool.borrow() is None
    assert pool.borrow() is None
    with pytest.raises(OSError, match="no"):
        pool.borrow()


def test_close_ends_both_sides_and_gives_everything_back() -> None:
    line = Line()
    push(line.backend)
    line.stop_thread()
    before = len(os.listdir("/proc/self/fd"))
    line.relay.close()
    assert line.ended == [line.relay]
    assert before - len(os.listdir("/proc/self/fd")) == 4  # two sockets, the pipe that waited
    line.backend.close()
    line.client.close()
    line.reactor.close()


@pytest.mark.parametrize("client_first", [True, False])
def test_who_stays_behind_is_not_kept_for_ever(client_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """R04, R05: the way that is left may move on, but not stand still for long."""
    monkeypatch.setattr("mailproxy.net.relay._LEFT_CLIENT_S", 0.1)
    monkeypatch.setattr("mailproxy.net.relay._LEFT_BACKEND_S", 0.1)
    line = Line()
    try:
        gone, left = (line.client, line.backend) if client_first else (line.backend, line.client)
        gone.shutdown(socket.SHUT_WR)
        assert left.recv(1) == b""
        wait_until("the relay has ended", lambda: line.ended)
    finally:
        line.close()
