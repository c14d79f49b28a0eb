"""Packets for an administrator who may not read them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mailproxy.net.packets import PacketSender
from mailproxy.net.reactor import Reactor
from tests.harness.wait import wait_until

PACKET = b"x" * 10_000
COUNT = 200  # Some twenty fit into the socket.


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


@pytest.fixture
def requester() -> Iterator[tuple[socket.socket, int]]:
    """Who asks, and the descriptor of the other end, which belongs to whoever answers."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.setblocking(False)
        yield theirs, ours.detach()


def packets(made: list[bytes]) -> Iterator[bytes]:
    for _ in range(COUNT):
        made.append(PACKET)
        yield PACKET


def test_one_who_does_not_read_is_dropped(
    reactor: Reactor, requester: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """X12: nothing waits for him but one packet, the loop sleeps meanwhile, and what was sent is his."""
    monkeypatch.setattr("mailproxy.net.packets._STALL_S", 0.2)
    theirs, fd = requester
    made: list[bytes] = []
    ended: list[PacketSender] = []
    PacketSender(reactor, fd, packets(made), ended.append)
    turns = 0

    def has_ended() -> bool:
        nonlocal turns
        turns += 1
        reactor.run_once(0.05)
        return bool(ended)

    wait_until("he is dropped", has_ended, 5)
    assert len(made) < COUNT
    assert turns < len(made) + 20
    assert len(made) - len(list(iter(lambda: theirs.recv(20_000), b""))) <= 1


def test_one_who_reads_gets_all(reactor: Reactor, requester: tuple[socket.socket, int]) -> None:
    theirs, fd = requester
    ended: list[PacketSender] = []
    PacketSender(reactor, fd, packets([]), ended.append)
    found: list[bytes] = []
    for _ in range(COUNT + 1):
        reactor.run_once(0)
        found.append(theirs.recv(20_000))
    assert found == [PACKET] * COUNT + [b""]
    assert len(ended) == 1


def test_one_who_has_left(reactor: Reactor, requester: tuple[socket.socket, int]) -> None:
    theirs, fd = requester
    theirs.close()
    ended: list[PacketSender] = []
    PacketSender(reactor, fd, packets([]), ended.append)
    reactor.run_once(0.05)
    assert len(ended) == 1
