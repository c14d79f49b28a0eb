"""Backends known to be down."""

from __future__ import annotations

from mailproxy.process.backend_health import BackendHealth

PLACE = ("192.0.2.1", 143)


def test_a_failure_alone_refuses_nobody() -> None:
    health = BackendHealth()
    health.failed(PLACE, 100.0)
    assert health.failing_s(PLACE, 129.9) == 0.0


def test_after_half_a_minute_of_failures_one_login_a_second_is_let_through() -> None:
    health = BackendHealth()
    for second in range(31):
        health.failed(PLACE, 100.0 + second)
    assert health.failing_s(PLACE, 130.0) == 0.0
    assert health.failing_s(PLACE, 130.5) == 30.5
    assert health.failing_s(("192.0.2.2", 143), 130.5) == 0.0
    assert health.failing_s(PLACE, 131.0) == 0.0


def test_an_answer_ends_it() -> None:
    health = BackendHealth()
    health.failed(PLACE, 100.0)
    assert health.failing_s(PLACE, 200.0) == 0.0
    assert health.failing_s(PLACE, 200.5) == 100.5
    health.answered(PLACE)
    assert health.failing_s(PLACE, 200.6) == 0.0


def test_memory_is_bounded() -> None:
    health = BackendHealth()
    for number in range(25_000):
        health.failed((f"host{number}", 143), 100.0)
    assert len(health._failing) <= 10_000
