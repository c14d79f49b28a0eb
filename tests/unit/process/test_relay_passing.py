"""Relays on their way between workers: what a captured one sends, and what is left when nobody else comes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from mailproxy.ipc.handover import HandedRelay, render_relay
from mailproxy.net.direction import WayState
from mailproxy.net.fd_passing import send_packet
from mailproxy.net.pipes import PipePool
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.relay import Relay
from mailproxy.process.handover import Handover
from mailproxy.process.relay_passing import RelaySender
from mailproxy.process.roster import RelayInfo
from mailproxy.process.user_ip_table import Places
from tests.unit.net.relay_peers import tcp_pair

INFO = {"user": "joe", "rip": "192.0.2.1", "session_id": "0A1B", "since_s": 17.5}
WAY = {name: value for name, value in WayState()._asdict().items() if name != "pending"}


class NewWorker:
    """The side that takes relays, and the socket that leads there."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.relays: dict[Relay, RelayInfo] = {}
        self.log: list[str] = []
        inlet, self.outlet = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inlet.setblocking(False)
        self.handover = Handover(
            self.reactor,
            PipePool(),
            self.relays,
            Places(None, b"imap", 0),
            inlet,
            self._forget,
            lambda _info: None,
            lambda _level, text: self.log.append(text),
        )

    def _forget(self, relay: Relay) -> None:
        del self.relays[relay]

    def close(self) -> None:
        for relay in list(self.relays):
            relay.close()
        self.outlet.close()
        self.reactor.run_once(0)  # it hears that all have come
        self.reactor.close()


@pytest.fixture
def worker() -> Iterator[NewWorker]:
    found = NewWorker()
    yield found
    found.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    ("info", "way", "kinds"),
    [
        ({}, {}, "fs"),
        ({}, {}, "sf"),
        ({}, {}, "s"),
        ({}, {}, "ssff"),
        ({}, {"held_bytes": 1}, "ssff"),
        ({}, {"held_bytes": 1}, "sspf"),
        ({}, {"held_bytes": -1}, "sspp"),
        ({}, {"held_bytes": 1 << 64}, "sspp"),
        ({}, {"total_bytes": 10**4000}, "ss"),
        ({}, {"ended": "yes"}, "ss"),
        ({"user": "\ud800"}, {}, "ss"),
        ({"user": None}, {}, "ss"),
        ({"rip": 7}, {}, "ss"),
        ({"since_s": "long ago"}, {}, "ss"),
    ],
)
def test_what_a_captured_worker_sends(
    worker: NewWorker, info: dict[str, Any], way: dict[str, Any], kinds: str
) -> None:
    """V16: it ends nobody, it stays nowhere, and the relay behind it is taken."""
    ours, theirs = tcp_pair()
    pipe_fds = os.pipe()
    with ours, theirs, open(os.devnull, "rb") as file:
        of_kind = {"s": ours.fileno(), "f": file.fileno(), "p": pipe_fds[0]}
        bad = render_relay(HandedRelay(INFO | info, WAY | way, WAY, b"", b""))
        send_packet(worker.outlet, bad, [of_kind[kind] for kind in kinds])
        before = descriptors()
        worker.handover.listen()
        worker.reactor.run_once(5)
        assert (worker.relays, descriptors()) == ({}, before)
        assert len(worker.log) == 1
        send_packet(worker.outlet, render_relay(HandedRelay(INFO, WAY, WAY, b"", b"")), [ours.fileno()] * 2)
        worker.reactor.run_once(5)
        assert [relay.user for relay in worker.relays.values()] == ["joe"]
    for fd in pipe_fds:
        os.close(fd)


def test_the_rest_is_taken_at_once(worker: NewWorker) -> None:
    """F12: by a process that nobody comes after; whatever is sent later stays with who sends it."""
    old = Reactor()
    sent: list[Relay] = []
    sender = RelaySender(old, worker.outlet.dup(), sent.append, lambda: None)
    relays, far_ends = [], []
    for _ in range(12):
        (client, ours_c), (backend, ours_b) = tcp_pair(), tcp_pair()
        for sock in (ours_c, ours_b):
            sock.setblocking(False)
            old.add(sock.fileno(), READ, lambda _events: None)
        relays.append(Relay(old, PipePool(), ours_c, ours_b, lambda _relay: None))
        far_ends.append((client, backend))
    for relay in relays[:10]:
        sender.offer(relay, INFO)
    old.run_once(5)
    assert sent == relays[:10]
    for relay in sent:
        relay.let_go()
    worker.handover.listen()
    worker.handover.take_rest()
    assert len(worker.relays) == 10
    for relay in relays[10:]:
        sender.offer(relay, INFO)
    old.run_once(5)
    assert sent == relays[:10]
    assert sender.is_closed
    client, backend = far_ends[9]
    client.sendall(b"NOOP")
    worker.reactor.run_once(5)
    assert backend.recv(4) == b"NOOP"
    for relay in relays[10:]:
        relay.close()
    for pair in far_ends:
        for sock in pair:
            sock.close()
    old.close()
