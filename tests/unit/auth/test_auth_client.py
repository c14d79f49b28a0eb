"""One connection of the auth process, on a socket pair, with time in the test's hand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from mailproxy.auth.chain import open_chain
from mailproxy.auth.database import Row
from mailproxy.auth.delay import FailureDelay
from mailproxy.auth.engine import Engine
from mailproxy.auth.mechanisms.claim import Context
from mailproxy.auth.mechanisms.registry import OFFERS
from mailproxy.auth.request import Request
from mailproxy.auth.resolver import Resolver
from mailproxy.base.level import Level
from mailproxy.base.limits import AUTH_REQUEST_S, FAILURE_TICK_S
from mailproxy.net.reactor import Reactor
from mailproxy.process.auth_client import AuthClient, Shared
from tests.unit.auth.auth_child import SETTINGS, Table, plain

ASK = b"AUTH\t%d\tPLAIN\tservice=imap\tresp=" + plain(b"john", b"s") + b"\n"


class Pair:
    """A connection of auth, and the worker's end of it."""

    def __init__(self, table: Table) -> None:
        self.reactor = Reactor()
        self.jobs: list[tuple[Callable[[], object], Callable[..., None]]] = []
        self.logged: list[str] = []
        self.gone: list[AuthClient] = []
        self.news = b""
        self.delay: FailureDelay[Request] = FailureDelay(
            self.reactor.now,
            FAILURE_TICK_S,
            self.reactor.call_at,
            lambda request, line: request.outlet.deliver(request, line),
        )
        chain = open_chain(SETTINGS, lambda _database: table)
        resolver = Resolver(self.submit, lambda: self.reactor.now, self.log)
        engine = Engine(SETTINGS, chain, None, self.submit, resolver.resolve_all, self.log, lambda *_: None)
        offers = {name.encode(): offer for name, offer in OFFERS.items()}
        shared = Shared(self.reactor, engine, self.delay, offers, self.log, False, False, lambda: self.news)
        ours, self.worker = socket.socketpair()
        ours.setblocking(False)
        self.worker.setblocking(False)
        self.client = AuthClient(ours, Context(b"h", (), 1, 1, 0), shared, self.gone.append)
        self.turn()
        assert self.received().endswith(b"DONE\n")
        self.send(b"VERSION\t1\t0\nCPID\t7\n")

    def submit(self, work: Callable[[], object], done: Callable[..., None]) -> bool:
        self.jobs.append((work, done))
        return True

    def log(self, _level: Level, text: str) -> None:
        self.logged.append(text)

    def turn(self) -> None:
        self.reactor.run_once(0.0)

    def send(self, data: bytes) -> None:
        self.worker.send(data)
        self.turn()

    def received(self) -> bytes:
        try:
            return self.worker.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.client.close()
        self.worker.close()
        self.reactor.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair(Table({"john": Row(b"s", {})}, blocking=True))
    yield made
    made.close()


def test_unasked_lines(pair: Pair) -> None:
    """They come between answers, whole."""
    pair.client.tell(b"LACKING\timap\n")
    pair.client.tell(b"LACKING\tpop3\tTOP\n")
    pair.turn()
    assert pair.received() == b"LACKING\timap\nLACKING\tpop3\tTOP\n"
    pair.client.close()
    pair.client.tell(b"LACKING\timap\n")


def test_line_in_pieces(pair: Pair) -> None:
    for byte in ASK % 1:
        pair.send(bytes((byte,)))
    assert len(pair.jobs) == 1


def test_hanging_lookup_ends_in_a_temporary_failure(pair: Pair) -> None:
    """S07: after the limit of a request, not before; the late answer is dropped (A24)."""
    pair.send(ASK % 1)
    pair.client.expire(pair.reactor.now + AUTH_REQUEST_S - 1)
    assert len(pair.delay) == 0
    pair.client.expire(pair.reactor.now + AUTH_REQUEST_S + 1)
    pair.delay.flush()
    pair.turn()
    assert pair.received() == b"FAIL\t1\tuser=john\ttemp\n"
    work, done = pair.jobs.pop()
    done(work())
    pair.turn()
    assert pair.received() == b""


def test_forgotten_exchange_times_out(pair: Pair) -> None:
    """A client that never answers a challenge costs nothing for ever."""
    pair.send(b"AUTH\t1\tPLAIN\tservice=imap\n")
    assert pair.received() == b"CONT\t1\t\n"
    pair.client.expire(pair.reactor.now + AUTH_REQUEST_S + 1)
    pair.send(b"CONT\t1\t" + plain(b"john", b"s") + b"\n")
    assert pair.received() == b"FAIL\t1\treason=Timeouted\n"


def test_continuation_of_a_refused_request_gets_no_second_answer(pair: Pair) -> None:
    pair.send(b"AUTH\t1\tPLAIN\tservice=imap\tresp=AA==\nCONT\t1\tAA==\n")
    assert len(pair.delay) == 1
    pair.delay.flush()
    pair.turn()
    assert pair.received() == b"FAIL\t1\n"


def test_peer_that_does_not_read(pair: Pair) -> None:
    """A12: its answers do not grow without bound."""
    line = b"CONT\t9\tAA==\n" * 4000
    pair.worker.setblocking(True)
    pair.worker.settimeout(10.0)
    for _ in range(200):
        if pair.gone:
            break
        pair.worker.send(line)
        pair.turn()
    assert pair.gone == [pair.client]
    assert pair.logged == ["auth client 7: does not read its answers"]


def test_slow_reader_gets_everything(pair: Pair) -> None:
    sent = got = 0
    for _ in range(40):
        sent += pair.worker.send(b"CONT\t9\tAA==\n" * 1000) // 12
        pair.turn()
    for _ in range(200):
        got += pair.received().count(b"\n")
        pair.turn()
    assert sent == got > 5000
    assert pair.gone == []
