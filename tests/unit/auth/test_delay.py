"""The failure delay."""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.auth.delay import FailureDelay


class Clock:
    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []
        self.delivered: list[tuple[str, bytes]] = []

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        self.calls.append((when, call))

    def deliver(self, request: str, line: bytes) -> None:
        self.delivered.append((request, line))


def test_one_beat_for_all() -> None:
    """A19: refusals of one beat leave together, on the even seconds since the start."""
    clock = Clock()
    delay: FailureDelay[str] = FailureDelay(100.0, 2.0, clock.call_at, clock.deliver)
    delay.hold("a", b"1", 100.0)
    delay.hold("b", b"2", 101.9)
    assert [when for when, _ in clock.calls] == [102.0]
    clock.calls.pop()[1]()
    assert clock.delivered == [("a", b"1"), ("b", b"2")]
    delay.hold("c", b"3", 105.5)
    assert [when for when, _ in clock.calls] == [106.0]


def test_cancelled() -> None:
    """A19: nothing is delivered to a client that left."""
    clock = Clock()
    delay: FailureDelay[str] = FailureDelay(0.0, 2.0, clock.call_at, clock.deliver)
    delay.hold("a", b"1", 0.5)
    delay.cancel("a")
    delay.cancel("unknown")
    clock.calls.pop()[1]()
    assert clock.delivered == []


def test_flush() -> None:
    clock = Clock()
    delay: FailureDelay[str] = FailureDelay(0.0, 2.0, clock.call_at, clock.deliver)
    delay.hold("a", b"1", 0.5)
    delay.flush()
    assert (clock.delivered, len(delay)) == ([("a", b"1")], 0)
