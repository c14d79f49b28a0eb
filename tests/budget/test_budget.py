"""The comparison itself."""

from __future__ import annotations

from tests.budget.budget import complaints
from tests.harness.syscalls import parse

BUDGET = {"worker": {"epoll_wait": 7.0, "recvfrom": 5.0, "sendto": 6.0}, "master": {"write": 1.0}}
TABLE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.000100           1       100           epoll_wait
 30.00    0.000060           2        30         4 recvfrom
 20.00    0.000040           2         3           mmap
------ ----------- ----------- --------- --------- ----------------
100.00    0.000200           1       133         4 total
"""


def test_what_is_within_the_budget() -> None:
    assert complaints(BUDGET, BUDGET, 0.1) == []
    noisy = {
        "worker": {"epoll_wait": 7.3, "recvfrom": 4.6, "sendto": 6.0, "getpid": 0.1},
        "master": {"write": 0.9},
    }
    assert complaints(BUDGET, noisy, 0.1) == []


def test_a_call_that_is_new_or_made_twice_is_named() -> None:
    more = {"worker": {**BUDGET["worker"], "getsockname": 1.0, "sendto": 7.4}, "master": {"write": 1.0}}
    (complaint,) = complaints(BUDGET, more, 0.1)
    assert complaint == (
        "worker: 20.4 system calls, budget 18.0. Grown: getsockname 1 (budget 0), sendto 7.4 (budget 6)"
    )


def test_many_small_growths_count_together() -> None:
    more = {
        "worker": {name: number + 1.0 for name, number in BUDGET["worker"].items()},
        "master": {"write": 1.0},
    }
    assert complaints(BUDGET, more, 0.1)[0].startswith("worker: 21.0 system calls, budget 18.0. Grown: ")


def test_a_process_without_a_budget_has_none() -> None:
    assert complaints({}, {"auth": {"read": 1.0}}, 0.1) == [
        "auth: 1.0 system calls, budget 0.0. Grown: read 1 (budget 0)"
    ]


def test_a_budget_that_is_too_generous_is_to_be_tightened() -> None:
    less = {"worker": {"epoll_wait": 5.0, "recvfrom": 4.0, "sendto": 4.0}, "master": {"write": 1.0}}
    assert complaints(BUDGET, less, 0.1) == [
        "worker: only 13.0 system calls, budget 18.0. Tighten budget.json"
    ]


def test_the_table_of_strace_is_read_without_memory_calls_and_the_sum() -> None:
    assert parse(TABLE) == {"epoll_wait": 100, "recvfrom": 30}
