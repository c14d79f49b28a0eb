"""The reactor over real descriptors."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from mailproxy.net.reactor import DATA, GONE, READ, WRITE, Reactor, Timer


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor()
    yield reactor
    reactor.close()


def test_events_reach_their_callback_until_it_is_removed(reactor: Reactor) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen: list[int] = []
        reactor.add(ours.fileno(), READ, seen.append)
        theirs.send(b"x")
        reactor.run_once(1)
        reactor.run_once(1)
        assert seen == [DATA, DATA]  # level-triggered: what was not read is told again
        reactor.change(ours.fileno(), WRITE)
        reactor.run_once(1)
        assert seen[2] == WRITE
        other: list[int] = []
        reactor.replace(ours.fileno(), other.append)
        reactor.run_once(1)
        assert (len(seen), other) == (3, [WRITE])
        reactor.remove(ours.fileno())
        reactor.run_once(0)
        assert (len(seen), len(other)) == (3, 1)


def test_hang_up_is_told_without_being_asked_for(reactor: Reactor) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        seen: list[int] = []
        reactor.add(ours.fileno(), 0, seen.append)
        theirs.close()
        reactor.run_once(1)
        assert seen[0] & GONE


@pytest.mark.parametrize("forget", [False, True])
def test_a_stale_event_reaches_nobody(reactor: Reactor, forget: bool) -> None:
    """Two descriptors are ready in one batch; the first closes the other and reuses its number."""
    pairs = [socket.socketpair(), socket.socketpair()]
    stale: list[int] = []
    fresh: list[int] = []
    reused: list[socket.socket] = []

    def act(index: int) -> None:
        if stale:
            fresh.append(-1)
            return
        stale.append(index)
        other = pairs[1 - index][0]
        number = other.fileno()
        (reactor.forget if forget else reactor.remove)(number)
        other.close()
        newcomer, peer = socket.socketpair()
        reused.extend((newcomer, peer))
        assert number in (newcomer.fileno(), peer.fileno())
        again = newcomer if newcomer.fileno() == number else peer
        reactor.add(number, READ, fresh.append)
        assert again.fileno() == number

    for index, (ours, theirs) in enumerate(pairs):
        reactor.add(ours.fileno(), READ, lambda _events, index=index: act(index))  # type: ignore[misc]
        theirs.send(b"x")
    reactor.run_once(1)
    assert len(stale) == 1
    assert fresh == []
    # The next batch is the newcomer's own again.
    reused[1 if reused[0].fileno() in reactor._callbacks else 0].send(b"y")
    pairs[stale[0]][0].recv(1)
    reactor.run_once(1)
    assert fresh == [DATA]
    for ours, theirs in (*pairs, (reused[0], reused[1])):
        ours.close()
        theirs.close()


def test_timers_run_in_order_and_once(reactor: Reactor) -> None:
    calls: list[str] = []
    reactor.call_later(0.02, lambda: calls.append("b"))
    reactor.call_later(0.01, lambda: calls.append("a"))
    late = reactor.call_later(60, lambda: calls.append("never"))
    cancelled = reactor.call_later(0.005, lambda: calls.append("cancelled"))
    reactor.cancel(cancelled)
    reactor.cancel(cancelled)
    start = time.monotonic()
    while len(calls) < 2:
        reactor.run_once(1)
    assert calls == ["a", "b"]
    assert time.monotonic() - start < 1
    assert late.call is not None


def test_a_timer_may_cancel_others_and_add_new_ones(reactor: Reactor) -> None:
    calls: list[str] = []
    second: list[Timer] = []

    def first() -> None:
        calls.append("first")
        reactor.cancel(second[0])
        reactor.call_at(reactor.now, lambda: calls.append("third"))

    reactor.call_at(0, first)
    second.append(reactor.call_at(1, lambda: calls.append("second")))
    reactor.run_once(0)
    assert calls == ["first", "third"]
    reactor.cancel(second[0])
    assert reactor._stale_timers == 0


def test_a_passed_timer_can_be_cancelled(reactor: Reactor) -> None:
    timer = reactor.call_at(0, lambda: None)
    reactor.run_once(0)
    reactor.cancel(timer)
    assert reactor._stale_timers == 0


def test_cancelled_timers_do_not_pile_up(reactor: Reactor) -> None:
    """A login's deadline is minutes away and cancelled at once: a hundred thousand leave nothing behind."""
    keep = [reactor.call_later(100 + n, lambda: None) for n in range(100)]
    for _ in range(100_000):
        reactor.cancel(reactor.call_later(180, lambda: None))
        assert len(reactor._timers) < 1000
    assert [timer for _, _, timer in sorted(reactor._timers) if timer.call is not None] == keep
    assert reactor._stale_timers == len(reactor._timers) - len(keep)


def test_flushers_run_after_the_batch_and_may_ask_again(reactor: Reactor) -> None:
    order: list[str] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def on_event(_events: int) -> None:
            ours.recv(10)
            reactor.flush_soon(flush)
            order.append("event")

        def flush() -> None:
            order.append("flush")
            if order.count("flush") < 2:
                reactor.flush_soon(flush)

        reactor.add(ours.fileno(), READ, on_event)
        reactor.call_at(0, lambda: order.append("timer"))
        theirs.send(b"x")
        reactor.run_once(1)
        assert order == ["event", "timer", "flush", "flush"]
        reactor.run_once(0)
        assert len(order) == 4


def test_run_ends_after_the_batch_that_stopped_it(reactor: Reactor) -> None:
    order: list[str] = []

    def stop() -> None:
        reactor.stop()
        reactor.flush_soon(lambda: order.append("flushed"))

    reactor.call_at(0, stop)
    reactor.run()
    assert order == ["flushed"]


def test_an_idle_reactor_sleeps(reactor: Reactor) -> None:
    """S6: cancelled timers wake nobody."""
    reactor.cancel(reactor.call_later(0.01, lambda: None))
    reactor.call_later(30, lambda: None)
    used_s = time.process_time()
    start = time.monotonic()
    reactor.run_once(0.1)
    assert time.monotonic() - start > 0.09
    assert time.process_time() - used_s < 0.05


def test_numbers_above_1023(reactor: Reactor) -> None:
    """X07: no limit of select()."""
    read_fd, write_fd = os.pipe()
    high = 1500
    os.dup2(read_fd, high)
    try:
        seen: list[int] = []
        reactor.add(high, READ, seen.append)
        os.write(write_fd, b"x")
        reactor.run_once(1)
        assert seen == [DATA]
        reactor.remove(high)
    finally:
        for fd in (read_fd, write_fd, high):
            os.close(fd)


class Waiter:
    """Counts its calls, and does something at each."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.calls = 0
        self.then = then

    def on_deadline(self) -> None:
        self.calls += 1
        self.then()


def test_a_deadline_comes_once_and_the_last_one_counts(reactor: Reactor) -> None:
    early, late, moved, dropped = (Waiter() for _ in range(4))
    for who, delay_s in ((late, 60.0), (early, 0.01), (moved, 0.01), (dropped, 0.01), (moved, 60.0)):
        reactor.set_deadline(who, reactor.now + delay_s)
    reactor.drop_deadline(dropped)
    reactor.drop_deadline(dropped)
    run_until(reactor, lambda: early.calls == 1)
    reactor.set_deadline(moved, reactor.now)
    run_until(reactor, lambda: moved.calls == 1)
    assert (early.calls, late.calls, dropped.calls) == (1, 0, 0)


def test_who_is_called_may_drop_and_set_deadlines(reactor: Reactor) -> None:
    second = Waiter()

    def drop_second() -> None:
        reactor.drop_deadline(second)
        if first.calls < 3:
            reactor.set_deadline(first, reactor.now)

    first = Waiter(drop_second)
    reactor.set_deadline(first, reactor.now)
    reactor.set_deadline(second, reactor.now)
    run_until(reactor, lambda: first.calls == 3)
    assert second.calls == 0


def run_until(reactor: Reactor, is_done: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not is_done() and time.monotonic() < end:
        reactor.run_once(0.5)
    assert is_done()
