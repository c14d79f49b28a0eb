"""Who hangs, by a clock of our own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailproxy.supervise.heartbeat import Heartbeat

BEAT_S, LIMIT_S = 8.0, 15.0


class Children:
    """Children who answer at once while they can."""

    def __init__(self, *pids: int) -> None:
        self.heartbeat = Heartbeat(BEAT_S, LIMIT_S)
        self.heard_at_s = dict.fromkeys(pids, 0.0)
        self.silent: set[int] = set()

    def beat(self, now_s: float) -> list[int]:
        """Let the master beat; returns who hangs."""
        to_ask, hung = self.heartbeat.beat(now_s, self.heard_at_s)
        for pid in to_ask:
            if pid not in self.silent:
                self.heard_at_s[pid] = now_s + 0.01
        return hung


@given(st.floats(0, 100))
def test_a_hung_child_is_found_in_time(hangs_at_s: float) -> None:
    """F21: at the latest 24 s after it began to hang, and not before 15 s."""
    children = Children(1, 2)
    now_s = 0.0
    while True:
        if now_s >= hangs_at_s:
            children.silent.add(1)
        hung = children.beat(now_s)
        if hung:
            break
        now_s += BEAT_S
    assert hung == [1]
    assert LIMIT_S <= now_s - hangs_at_s <= 3 * BEAT_S


def test_one_that_stops_for_ten_seconds_is_left_alone() -> None:
    """F04."""
    children = Children(1)
    for beat in range(20):
        now_s = beat * BEAT_S
        if now_s == 8:
            children.silent.add(1)
        if now_s == 16:
            children.silent.clear()
            children.heard_at_s[1] = now_s  # the answer to what was asked at 8
        assert children.beat(now_s) == []


def test_a_master_that_was_late_judges_nobody() -> None:
    """A machine that slept, or a master that was stopped: everyone is asked anew."""
    children = Children(1)
    children.silent.add(1)
    assert children.beat(0) == []
    assert children.beat(3600) == []
    assert children.beat(3600 + BEAT_S) == []
    assert children.beat(3600 + 2 * BEAT_S) == [1]


def test_who_is_not_given_any_more_is_forgotten() -> None:
    """A number may come back as another's."""
    children = Children(1)
    children.silent.add(1)
    children.beat(0)
    assert children.heartbeat.beat(8, {}) == ([], [])
    assert children.beat(16) == []
    assert children.beat(24) == []
    assert children.beat(32) == [1]


def test_any_word_counts_as_an_answer() -> None:
    children = Children(1)
    children.silent.add(1)
    children.beat(0)
    children.heard_at_s[1] = 3
    assert children.beat(8) == []
    assert children.beat(16) == []
    assert children.beat(24) == [1]
