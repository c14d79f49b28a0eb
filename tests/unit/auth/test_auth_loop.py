"""Passdbs that are asked in the loop: by the engine alone, and in the real process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mailproxy.auth.database import Found, Loop, Row, Submit, Values
from mailproxy.net.reactor import READ
from tests.unit.auth.auth_child import SETTINGS, AuthChild, Table, plain
from tests.unit.auth.engine_room import OK, PROXY, TEMP, Room


class LoopTable(Table):
    """A table that answers when the test says so, or by the loop if it is attached to one."""

    def __init__(self, rows: dict[str, Row]) -> None:
        super().__init__(rows, blocking=True)
        self.open: list[tuple[Values, Callable[[], bool], Callable[[Found], None]]] = []
        self.is_full = False
        self._pipe = (-1, -1)

    def attach(self, loop: Loop, submit: Submit, limit: int, wake: Callable[[], None]) -> None:
        def on_event(_events: int) -> None:
            os.read(self._pipe[0], 1)
            wake()
            row = self.rows["john"]._replace(fields={**PROXY, "limit": str(limit)})
            submit(lambda: row, self.open.pop()[2])

        self._pipe = os.pipe()
        loop.add(self._pipe[0], READ, on_event)

    def begin(self, values: Values, wanted: Callable[[], bool], done: Callable[[Found], None]) -> bool:
        if not self.is_full:
            self.open.append((values, wanted, done))
            if self._pipe[1] >= 0:
                os.write(self._pipe[1], b"x")
        return not self.is_full


def john() -> LoopTable:
    return LoopTable({"john": Row(b"s", PROXY)})


def test_no_thread_has_to_be_asked() -> None:
    table = john()
    room = Room(table)
    room.begin(plain(b"john", b"s"))
    assert (room.jobs, room.lines) == ([], [])
    ((values, wanted, done),) = table.open
    assert values["u"] == "john"
    assert wanted()
    done(table.lookup(values))
    assert room.lines == [OK]


def test_who_is_gone_is_not_wanted() -> None:
    """A24: and an answer that comes nevertheless reaches nobody."""
    table = john()
    room = Room(table)
    request = room.begin(plain(b"john", b"s"))
    request.is_over = True
    ((values, wanted, done),) = table.open
    assert not wanted()
    done(table.lookup(values))
    assert room.lines == []


def test_too_much_waits() -> None:
    """X09: a temporary failure at once."""
    table = john()
    table.is_full = True
    room = Room(table)
    assert room.login() == TEMP
    assert room.errors == ["auth(john,10.0.0.5): All auth workers are busy"]


def test_auth_gives_its_loop_its_threads_and_its_limit(tmp_path: Path) -> None:
    with AuthChild(tmp_path, replace(SETTINGS, worker_max_count=7), [john()]) as child:
        client = child.connect()
        client.ask(1, plain(b"john", b"s"))
        assert client.line() == b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tlimit=7\tpass=s"
