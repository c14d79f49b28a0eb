"""Who must make room when all workers are taken, on paper."""

from __future__ import annotations

from mailproxy.ipc.status import Order
from tests.unit.supervise.paper_group import FULL, LOGINS, Group


def test_the_worker_that_has_been_full_for_longest_drops_a_login() -> None:
    """X01: in the mode of one process per connection."""
    group = Group(2, 3)
    group.fork(0)
    group.policy.on_status(2, LOGINS, 1)
    group.policy.on_status(1, LOGINS, 2)
    group.fork(2)
    assert group.policy.orders(2) == []
    group.policy.on_status(3, FULL, 2)
    assert group.policy.orders(2) == [(2, Order.DROP_OLDEST_LOGIN)]
    group.policy.on_status(2, FULL, 2.5)
    assert group.policy.orders(2.9) == []  # who came last has a second for his login
    assert group.policy.needs_ticks
    assert group.policy.orders(3) == [(1, Order.DROP_OLDEST_LOGIN)]
    group.policy.on_status(1, FULL, 4)
    assert group.policy.orders(9) == []


def crowded(base: int, most: int, logins: int) -> Group:
    """A group whose workers 1 to `logins` took their clients at time 0."""
    group = Group(base, most)
    while len(group.policy.pids) < logins:
        for pid in group.fork(0):
            if pid <= logins:
                group.policy.on_status(pid, LOGINS, 0)
    group.fork(0)
    return group


def drop(*pids: int) -> list[tuple[int, Order]]:
    return [(pid, Order.DROP_OLDEST_LOGIN) for pid in pids]


def test_spare_workers_are_kept_at_the_cost_of_the_oldest_logins() -> None:
    """X02: before the last one is taken, so that whoever comes next need not wait for a fork."""
    group = crowded(4, 64, 60)
    assert group.policy.listening == 4
    assert group.policy.orders(5) == []
    group.policy.on_status(61, LOGINS, 5)
    group.policy.on_status(62, LOGINS, 5)
    assert group.fork(5) == []
    assert group.policy.orders(5) == drop(1, 2)
    assert group.policy.orders(5.1) == []  # they are told once
    group.policy.on_status(1, FULL, 5.1)
    group.policy.on_died(1, clean=True, now_s=5.2)
    assert len(group.fork(5.2)) == 1
    assert group.policy.orders(5.2) == []


def test_a_flood_has_many_dropped_at_once() -> None:
    """X02: when nobody accepts an eighth of all workers is made free, and kept free for a while."""
    group = crowded(4, 64, 64)
    assert group.policy.listening == 0
    assert group.policy.orders(5) == drop(*range(1, 9))
    for pid in range(1, 9):
        group.policy.on_died(pid, clean=True, now_s=5.1)
    assert len(group.fork(5.1)) == 8
    for second in range(4):
        group.policy.on_tick(6 + second)
    assert group.policy._wanted == 4
    assert not group.policy.needs_ticks


def test_one_that_does_not_leave_is_passed_over() -> None:
    """X01: a password was accepted, or the client does not hang up: the next one goes; he comes last."""
    group = crowded(1, 8, 8)
    assert group.policy.orders(5) == drop(1)
    assert group.policy.orders(5.2) == []
    for pid in range(2, 9):
        assert group.policy.orders(5 * pid) == drop(pid)
    assert group.policy.orders(60) == drop(1)


def test_a_flood_leaves_time_for_a_login() -> None:
    """X02: a quarter of a second to the older half of the clients, a second to the others."""
    group = crowded(4, 64, 64)
    assert group.policy.orders(0.24) == []
    now_s, dropped = 0.25, []
    while orders := group.policy.orders(now_s):
        for pid, _ in orders:
            group.policy.on_status(pid, FULL, now_s)
            dropped.append(pid)
        now_s += 0.25
        if now_s >= 1:
            break
    assert dropped == list(range(1, 25))
    assert group.policy.orders(1) == drop(*range(25, 33))


def test_the_only_one_has_a_second_for_his_login() -> None:
    """X01: nobody else is there whose turn it could be."""
    group = crowded(1, 1, 1)
    assert group.policy.orders(0.99) == []
    assert group.policy.orders(1) == drop(1)


def test_full_workers_listen_anyway_when_no_more_may_be_forked() -> None:
    """X01: in the mode of many connections; one with nothing but relays is left alone."""
    group = Group(3, 3, per_connection=False)
    group.fork(0)
    group.policy.on_status(1, LOGINS, 1)
    group.policy.on_status(2, FULL, 1)
    assert group.policy.orders(1) == []
    group.policy.on_status(3, LOGINS, 1)
    assert group.policy.orders(1) == [(1, Order.LISTEN_ANYWAY), (3, Order.LISTEN_ANYWAY)]
    assert group.policy.needs_ticks
