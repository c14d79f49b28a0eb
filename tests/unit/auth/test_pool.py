"""The thread pool."""

from __future__ import annotations

import os
import select
import threading

from mailproxy.auth.pool import Pool


def collect(pool: Pool, results: list[object], count: int) -> None:
    while len(results) < count:
        assert select.select([pool.fileno()], [], [], 10.0)[0], "no result in time"
        pool.collect()


def test_results_come_back_in_the_calling_thread() -> None:
    pool = Pool(4)
    results: list[object] = []
    threads: list[int] = []

    def done(result: int) -> None:
        results.append(result)
        threads.append(threading.get_ident())

    for number in range(50):
        assert pool.submit(lambda number=number: number * 2, done)  # type: ignore[misc]
    collect(pool, results, 50)
    assert sorted(map(int, map(str, results))) == list(range(0, 100, 2))
    assert set(threads) == {threading.get_ident()}
    pool.close()


def test_queue_is_bounded() -> None:
    """X09: beyond the queue nothing is taken, and there is room again afterwards."""
    pool = Pool(1, queue_limit=2)
    gate = threading.Event()
    results: list[object] = []
    assert [pool.submit(lambda: gate.wait(10.0), results.append) for _ in range(5)] == [True] * 3 + [
        False
    ] * 2
    gate.set()
    collect(pool, results, 3)
    assert pool.submit(lambda: True, results.append)
    collect(pool, results, 4)
    pool.close()


def test_one_word_for_all_that_waits() -> None:
    pool = Pool(1)
    third_runs, gate = threading.Event(), threading.Event()
    for _ in range(2):
        pool.submit(lambda: True, lambda _result: None)
    pool.submit(lambda: third_runs.set() or gate.wait(10.0), lambda _result: None)  # type: ignore[func-returns-value]
    assert third_runs.wait(10.0)
    assert os.eventfd_read(pool.fileno()) == 1
    gate.set()
    pool.close()


def test_threads_are_bounded_and_started_on_demand() -> None:
    before = threading.active_count()
    pool = Pool(3)
    gate = threading.Event()
    results: list[object] = []
    for wanted in (1, 2, 3, 3, 3):
        pool.submit(lambda: gate.wait(10.0), results.append)
        assert threading.active_count() - before == wanted
    gate.set()
    collect(pool, results, 5)
    pool.close()
