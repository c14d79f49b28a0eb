"""Queries in the loop: who waits, what is handed to a thread, and what becomes of lanes."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from mailproxy.auth.database import Waiting
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.passdb import pgsql_lanes
from mailproxy.passdb.pgsql_lanes import Lanes, Order
from mailproxy.passdb.sql_engine import QUERY_S, Answer, Database, Target


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeLoop:
    def __init__(self) -> None:
        self.callbacks: dict[int, Callable[[int], None]] = {}
        self.events: dict[int, int] = {}
        self.deadlines: dict[Waiting, float] = {}

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        assert fd not in self.callbacks
        self.callbacks[fd] = callback
        self.events[fd] = events

    def change(self, fd: int, events: int) -> None:
        self.events[fd] = events

    def forget(self, fd: int) -> None:
        del self.callbacks[fd]

    def set_deadline(self, who: Waiting, when: float) -> None:
        self.deadlines[who] = when

    def drop_deadline(self, who: Waiting) -> None:
        self.deadlines.pop(who, None)


class Raw:
    """A connection of the driver: in a thread it answers at once, in the loop when the test says so."""

    def __init__(self, fd: int, host: str) -> None:
        self.fd = fd
        self.host = host
        self.asked: list[str] = []
        self.answers: deque[str | Exception] = deque()
        self.unsent = 0
        self.closed = False
        self.hangs_up = False

    @property
    def broken(self) -> bool:
        return self.closed

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        self.closed = True

    def send(self, text: str, parameters: tuple[str, ...]) -> bool:
        parameters[0].encode("ascii")
        if self.hangs_up:
            self.close()
            raise psycopg.OperationalError("gone")
        self.asked.append(parameters[0])
        return self.unsent > 0

    def flush(self) -> bool:
        self.unsent -= 1
        return self.unsent > 0

    def receive(self) -> str | None:
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, Exception):
            self.closed |= isinstance(answer, psycopg.OperationalError)
            raise answer
        return answer

    def listen(self) -> None:
        self.closed = self.hangs_up

    def give_up(self) -> psycopg.Error:
        self.close()
        return psycopg.OperationalError("no answer")

    def columns(self, _result: str) -> list[str]:
        return ["name"]

    def rows(self, result: str, _limit: int) -> list[list[str | None]]:
        return [[result]]

    # As a cursor of itself, which is what threads use.
    description = (("name",),)

    def cursor(self) -> Raw:
        return self

    def execute(self, _text: str, parameters: tuple[str, ...]) -> None:
        self.asked.append(f"thread {parameters[0]}")

    def fetchmany(self, _limit: int) -> list[list[str]]:
        return [[f"{self.host} {self.asked[-1]}"]]


class World:
    def __init__(self, limit: int = 2, hosts: tuple[str, ...] = ("one",)) -> None:
        self.clock = Clock()
        self.loop = FakeLoop()
        self.log: list[str] = []
        self.raws: list[Raw] = []
        self.down: set[str] = set()
        self.dialled: list[str] = []
        self.jobs: list[tuple[Callable[[], object], Callable[..., None]]] = []
        self.jobs_limit = 100
        self.found: list[str] = []
        self.unwanted: set[str] = set()
        self.woken = 0
        self.database = Database([self._target(host) for host in hosts], self._logged, self.clock)
        self.lanes = Lanes(self.database, self.loop, self._submit, limit, self._wake)

    def _target(self, host: str) -> Target:
        return Target("postgresql+psycopg://", host, lambda: self._connect(host), "no", "connected")

    def _connect(self, host: str) -> Raw:
        self.dialled.append(host)
        if host in self.down:
            raise psycopg.OperationalError("refused")
        self.raws.append(Raw(1000 + len(self.raws), host))
        return self.raws[-1]

    def _logged(self, _level: Level, text: str) -> None:
        self.log.append(text)

    def _submit(self, work: Callable[[], object], done: Callable[..., None]) -> bool:
        if len(self.jobs) >= self.jobs_limit:
            return False
        self.jobs.append((work, done))
        return True

    def _wake(self) -> None:
        self.woken += 1

    def begin(self, name: str, done: Callable[[Any], None] | None = None) -> bool:
        def found(answer: Answer | LookupFailure) -> None:
            self.found.append(str(answer) if isinstance(answer, LookupFailure) else answer.rows[0][0])

        wanted = partial(self._is_wanted, name)
        return self.lanes.begin(Order("text", (name,), wanted, done or found))

    def _is_wanted(self, name: str) -> bool:
        return name not in self.unwanted

    def run_jobs(self) -> None:
        while self.jobs:
            work, done = self.jobs.pop(0)
            done(work())

    def answer(self, raw: Raw, answer: str | Exception | None = None) -> None:
        raw.answers.append(answer or f"{raw.host} {raw.asked[-1]}")
        self.fire(raw)

    def fire(self, raw: Raw, events: int = select.EPOLLIN) -> None:
        self.loop.callbacks[raw.fd](events)

    def opened(self, count: int) -> list[Raw]:
        """Open lanes, with nothing under way and no trace of it."""
        hosts = len(self.database.hosts)
        for number in range(count // hosts):
            for step in ("open", "use"):
                for turn in range(hosts):
                    assert self.begin(f"{step}{number}{turn}")
                self.run_jobs()
        for raw in self.raws:
            self.answer(raw)
            raw.asked.clear()
        self.found.clear()
        assert not self.jobs
        assert len(self.raws) == count
        return self.raws


def test_threads_connect_and_the_loop_goes_on_with_it() -> None:
    world = World(limit=2)
    assert all(world.begin(name) for name in ("a", "b", "c", "d"))
    assert len(world.jobs) == 2, "more would open more connections than there may be"
    work, done = world.jobs.pop(0)
    done(work())
    assert world.found == ["one thread a"]
    assert world.raws[0].asked == ["thread a", "c"], "who waits longest has the connection at once"
    world.answer(world.raws[0])
    assert world.found == ["one thread a", "one c"]
    world.run_jobs()
    world.answer(world.raws[0])
    assert world.found == ["one thread a", "one c", "one thread b", "one d"]
    assert world.log == ["connected one"]
    assert not world.loop.deadlines


def test_the_engine_is_told_the_time_before_an_answer() -> None:
    world = World()
    (raw,) = world.opened(1)
    before = world.woken
    world.begin("a")
    assert world.woken == before
    world.answer(raw)
    assert world.woken == before + 1


def test_an_answer_in_pieces() -> None:
    world = World()
    (raw,) = world.opened(1)
    world.begin("a")
    world.fire(raw)
    assert world.found == []
    world.answer(raw)
    assert world.found == ["one a"]


def test_a_query_in_pieces() -> None:
    """What the socket does not take is sent when it can be, and only then the loop looks for that."""
    world = World()
    (raw,) = world.opened(1)
    raw.unsent = 2
    world.begin("a")
    assert world.loop.events[raw.fd] & select.EPOLLOUT
    world.fire(raw, select.EPOLLOUT)
    assert world.loop.events[raw.fd] & select.EPOLLOUT
    world.fire(raw, select.EPOLLOUT)
    assert not world.loop.events[raw.fd] & select.EPOLLOUT
    world.answer(raw)
    assert world.found == ["one a"]


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """X09: beyond the queue nothing is taken."""
    monkeypatch.setattr(pgsql_lanes, "QUEUE_LIMIT", 2)
    world = World(limit=1)
    (raw,) = world.opened(1)
    assert [world.begin(name) for name in "abcd"] == [True, True, True, False]
    world.answer(raw)
    assert world.begin("e")


def test_no_thread_to_connect_in() -> None:
    """X09: neither who comes now nor who has waited hangs."""
    world = World(limit=1)
    (raw,) = world.opened(1)
    world.begin("a")
    world.begin("b")
    world.jobs_limit = 0
    raw.hangs_up = True
    world.answer(raw, psycopg.OperationalError("gone"))
    assert world.found == ["All auth workers are busy", "All auth workers are busy"]
    assert not world.begin("c")


def test_who_has_gone_is_not_asked_about() -> None:
    world = World(limit=1)
    (raw,) = world.opened(1)
    for name in "abc":
        world.begin(name)
    world.unwanted = {"b"}
    world.answer(raw)
    assert raw.asked == ["a", "c"]


def test_a_lane_that_the_server_closes_while_it_is_idle() -> None:
    """S07: costs nobody a try; a message alone is no end."""
    world = World()
    (raw,) = world.opened(1)
    world.fire(raw)
    assert raw.fd in world.loop.callbacks
    raw.hangs_up = True
    world.fire(raw)
    assert raw.closed
    assert raw.fd not in world.loop.callbacks
    world.begin("a")
    world.run_jobs()
    assert world.found == ["one thread a"]


def test_a_lane_whose_end_says_nothing() -> None:
    """A half-closed socket would be readable for ever."""
    world = World()
    (raw,) = world.opened(1)
    world.fire(raw, select.EPOLLIN | select.EPOLLRDHUP)
    assert raw.closed


def test_a_lost_lane_costs_a_second_try() -> None:
    """S07: that an old connection is dead says nothing of the host."""
    world = World(limit=2)
    first, second = world.opened(2)
    for raw in (first, second):
        raw.hangs_up = True
    world.begin("a")
    world.begin("b")
    world.run_jobs()
    assert sorted(world.found) == ["one thread a", "one thread b"]
    assert world.log == ["connected one"]
    assert {first.fd, second.fd}.isdisjoint(world.loop.callbacks)


def test_a_query_that_the_database_refuses() -> None:
    world = World()
    (raw,) = world.opened(1)
    world.begin("a")
    world.answer(raw, psycopg.ProgrammingError("no such table"))
    assert world.found == ["no such table"]
    world.begin("b")
    world.answer(raw)
    assert world.found[1:] == ["one b"]


def test_an_error_that_nobody_foresaw() -> None:
    """It ends that query and its connection, and its text is not told."""
    world = World()
    (raw,) = world.opened(1)
    world.begin("a")
    raw.closed = True
    world.answer(raw, KeyError("hunter2"))
    assert world.found == ["Lookup failed: KeyError"]
    assert raw.fd not in world.loop.callbacks


def test_a_server_that_does_not_answer() -> None:
    """S07: is left alone for a while, and the query goes to the next host."""
    world = World(hosts=("one", "two"))
    raws = world.opened(2)
    world.begin("a")
    (raw,) = [raw for raw in raws if raw.asked]
    (lane,) = world.loop.deadlines
    assert world.loop.deadlines[lane] == world.clock.now + QUERY_S
    world.clock.now += QUERY_S
    lane.on_deadline()
    world.run_jobs()
    other = "two" if raw.host == "one" else "one"
    assert world.found == [f"{other} thread a"]
    assert world.log[-1] == f"no {raw.host}: no answer - waiting for 1 seconds before retry"
    assert raw.fd not in world.loop.callbacks


def test_the_only_host_does_not_answer() -> None:
    world = World()
    world.opened(1)
    world.begin("a")
    world.clock.now += QUERY_S
    next(iter(world.loop.deadlines)).on_deadline()
    world.begin("b")
    assert world.found == ["no answer", "Not connected to database"]
    assert not world.jobs


def test_hosts_take_turns() -> None:
    world = World(hosts=("one", "two"))
    raws = world.opened(2)
    for name in "abcd":
        world.begin(name)
        for raw in raws:
            if raw.asked and raw.asked[-1] == name:
                world.answer(raw)
    assert [found.split()[0] for found in world.found] in (["one", "two"] * 2, ["two", "one"] * 2)


def test_a_host_that_was_down_is_tried_by_one() -> None:
    """S07: the others go on elsewhere meanwhile."""
    world = World(hosts=("one", "two"), limit=4)
    world.down = {"one"}
    for name in "ab":
        world.begin(name)
        world.run_jobs()
    assert world.found == ["two thread a"]
    assert world.raws[0].asked == ["thread a", "b"]
    world.clock.now += 1
    world.dialled.clear()
    for name in "cdef":
        world.begin(name)
    world.run_jobs()
    assert world.dialled.count("one") == 1


def test_a_host_that_was_down_is_tried_by_a_lane_if_it_has_one() -> None:
    """S07: a server that hung for a while may still know its connections."""
    world = World(limit=2)
    first, second = world.opened(2)
    world.begin("a")
    world.clock.now += QUERY_S
    next(iter(world.loop.deadlines)).on_deadline()
    world.begin("b")
    assert world.found == ["no answer", "Not connected to database"]
    world.clock.now += 1
    world.begin("c")
    world.begin("d")
    world.answer(first if first.asked == ["c"] else second)
    assert world.found[2:] == ["Not connected to database", "one c"]
    assert world.dialled == ["one"] * 2


def test_the_limit_is_for_all_hosts_together() -> None:
    world = World(hosts=("one", "two"), limit=2)
    world.opened(2)
    for name in "abc":
        world.begin(name)
    assert sorted(raw.asked for raw in world.raws) == [["a"], ["b"]]
    assert not world.jobs
    first, second = world.raws
    world.answer(first)
    world.answer(first if first.asked[-1] == "c" else second)
    assert len(world.found) == 2


def test_who_waits_does_not_keep_the_one_try_of_a_host_that_was_down() -> None:
    """S07: its ticket is given away with the query that begins, and with none before."""
    world = World(limit=1)
    (raw,) = world.opened(1)
    world.begin("a")
    world.down = {"one"}
    with pytest.raises(LookupFailure, match="refused"):
        world.database.query("text", ("elsewhere",))
    world.clock.now += 1
    world.begin("b")
    assert world.database.hosts[0].claim() == 1
    world.answer(raw)
    world.answer(raw)
    assert world.found == ["one a", "one b"]


def test_what_cannot_be_sent_is_no_fault_of_the_connection() -> None:
    """Also not when many wait, each of whom fails as soon as it is tried."""
    world = World(limit=1)
    (raw,) = world.opened(1)
    world.begin("a")
    for _ in range(1000):
        assert world.begin("j\u00f6hn")
    assert world.begin("b")
    world.answer(raw)
    world.answer(raw)
    assert set(world.found) == {"one a", "Lookup failed: UnicodeEncodeError", "one b"}
    assert len(world.found) == 1002
    assert not raw.closed


def test_an_answer_may_lead_to_the_next_question() -> None:
    """As with several passdbs: it waits for its turn behind those who came before."""
    world = World(limit=1)
    (raw,) = world.opened(1)

    def ask_on(_answer: Answer | LookupFailure) -> None:
        world.begin("then")

    world.begin("a", ask_on)
    world.begin("b")
    for _ in range(3):
        world.answer(raw)
    assert raw.asked == ["a", "b", "then"]


def test_who_fails_at_once_does_not_pass_those_who_wait() -> None:
    world = World(limit=1)
    (raw,) = world.opened(1)

    def ask_on(_answer: Answer | LookupFailure) -> None:
        world.begin("then")

    world.begin("a")
    world.begin("j\u00f6hn", ask_on)
    world.begin("b")
    for _ in range(3):
        world.answer(raw)
    assert raw.asked == ["a", "b", "then"]


def test_close() -> None:
    world = World(limit=2)
    raws = world.opened(2)
    world.begin("a")
    world.lanes.close()
    world.lanes.close()
    assert all(raw.closed for raw in raws)
    assert not world.loop.callbacks
    assert not world.loop.deadlines
