"""Backends known to be down."""

from __future__ import annotations

import pytest

from mailproxy.process.backend_health import BackendHealth

PLACE = ("192.0.2.1", 143)


def test_a_failure_alone_refuses_nobody() -> None:
    health = BackendHealth(30.0)
    health.failed(PLACE, 100.0)
    assert health.failing_s(PLACE, 129.9) == 0.0


def fail_for_half_a_minute(health: BackendHealth) -> None:
    for second in range(31):
        health.failed(PLACE, 100.0 + second)


def test_after_half_a_minute_of_failures_one_login_a_second_is_let_through() -> None:
    health = BackendHealth(30.0)
    fail_for_half_a_minute(health)
    assert health.failing_s(PLACE, 130.2) == 0.0
    assert health.failing_s(PLACE, 130.5) == 30.5
    assert health.failing_s(("192.0.2.2", 143), 130.5) == 0.0
    assert health.failing_s(PLACE, 131.2) == 0.0


def test_an_answer_ends_it() -> None:
    health = BackendHealth(30.0)
    fail_for_half_a_minute(health)
    assert health.failing_s(PLACE, 130.2) == 0.0
    assert health.failing_s(PLACE, 130.5) == 30.5
    health.answered(PLACE)
    assert health.failing_s(PLACE, 130.6) == 0.0


def test_one_old_failure_is_nofailing() -> None:
    health = BackendHealth(30.0)
    health.failed(PLACE, 100.0)
    assert [health.failing_s(PLACE, 160.0 + tenth / 10) for tenth in range(5)] == [0.0] * 5
    health.failed(PLACE, 160.0)
    assert health.failing_s(PLACE, 160.5) == 0.0


def test_what_nobody_tried_lately_is_forgotten() -> None:
    health = BackendHealth(30.0)
    fail_for_half_a_minute(health)
    assert [health.failing_s(PLACE, 141.0 + tenth / 10) for tenth in range(5)] == [0.0] * 5


def test_memory_is_bounded() -> None:
    health = BackendHealth(30.0)
    for number in range(25_000):
        health.failed((f"host{number}", 143), 100.0)
    assert len(health.failing) <= 10_000


def test_a_row_may_have_more_patience_or_less() -> None:
    """One second is enough for one user, another always tries; 0 as the setting is never as well."""
    health = BackendHealth(0.0)
    for second in range(3):
        health.failed(PLACE, 100.0 + second)
    assert health.failing_s(PLACE, 102.1) == 0.0
    assert health.failing_s(PLACE, 102.2, 2.5) == 0.0
    assert health.failing_s(PLACE, 102.3, 1.0) == 0.0  # The one of this second.
    assert health.failing_s(PLACE, 102.4, 1.0) == pytest.approx(2.4)
    assert health.failing_s(PLACE, 102.5, 0.0) == 0.0
