"""Queries that wait for PostgreSQL in the loop: the way to a thread and back cost more than all the rest.

A lane is a connection that the loop has for itself. Threads open connections, and go on with a query that has
lost its own: all that may block, and all failover, stays with `sql_engine`.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from mailproxy.auth.database import Loop, Submit
from mailproxy.auth.pool import QUEUE_LIMIT
from mailproxy.base.errors import LookupFailure
from mailproxy.passdb.pgsql_connection import PgsqlConnection
from mailproxy.passdb.sql_engine import (
    QUERY_S,
    Answer,
    Connection,
    Database,
    DriverFault,
    Host,
    HostDown,
    Search,
    fault_of,
)

_READ = select.EPOLLIN | select.EPOLLRDHUP
_ROWS = 2
_BUSY = "All auth workers are busy"


class Order(NamedTuple):
    """One query, and who waits for it."""

    text: str
    parameters: tuple[str, ...]
    wanted: Callable[[], bool]
    """Asked when it has had to wait."""
    done: Callable[[Answer | LookupFailure], None]


class _Track:
    """What the loop has of one host."""

    def __init__(self) -> None:
        self.lanes: set[Lane] = set()
        self.free: list[Lane] = []
        """The last used on top."""


class Lanes:
    """The lanes to all hosts of one database, for one thread. Owns their connections."""

    def __init__(
        self, database: Database, loop: Loop, submit: Submit, limit: int, wake: Callable[[], None]
    ) -> None:
        self.loop = loop
        self.wake = wake
        self._database = database
        self._submit = submit
        self._limit = limit
        self._tracks = {host: _Track() for host in database.hosts}
        self._busy = 0
        """Queries under way, here and in threads; so there are no more connections to a host than `limit`."""
        self._waiting: deque[Order] = deque()
        """Not empty only while `limit` queries are under way: each that ends lets another begin."""
        self._is_going_on = False

    def begin(self, order: Order) -> bool:
        """Send the query, or let it wait for its turn; False when too many wait already."""
        if self._busy < self._limit and not self._waiting:
            return self._start(order)
        if len(self._waiting) >= QUEUE_LIMIT:
            return False
        self._waiting.append(order)
        return True

    def _start(self, order: Order) -> bool:
        """Return False when no thread can take what has to block."""
        search = self._database.search(order.text, order.parameters)
        host = search.host
        if host is None:
            order.done(LookupFailure(search.failure))
            return True
        self._busy += 1
        track = self._tracks[host]
        if track.free or self._adopt(host, track):
            track.free.pop().ask(order, search)
            return True
        if self._hand_over(order, search):
            return True
        self._busy -= 1
        return False

    def _adopt(self, host: Host, track: _Track) -> bool:
        """Make a lane of a connection that a thread has left; False if there is none."""
        while (connection := host.spare()) is not None:
            if not connection.raw.closed:
                lane = Lane(self, connection)
                track.lanes.add(lane)
                track.free.append(lane)
                return True
        return False

    def _hand_over(self, order: Order, search: Search) -> bool:
        work = partial(_finish, self._database, search, order.wanted)
        return self._submit(work, partial(self._end, order))

    def _end(self, order: Order, found: Answer | LookupFailure) -> None:
        self._busy -= 1
        if self._waiting:
            self._go_on()
        order.done(found)

    def _go_on(self) -> None:
        """Start what waits, as far as the limit allows."""
        if self._is_going_on:
            return  # A query has failed at once: whoever started it goes on.
        self._is_going_on = True
        waiting = self._waiting
        while waiting and self._busy < self._limit:
            order = waiting.popleft()
            if order.wanted() and not self._start(order):
                order.done(DriverFault(_BUSY))
        self._is_going_on = False

    # -- called by lanes ------------------------------------------------------------------------------

    def answered(self, lane: Lane, order: Order, search: Search, answer: Answer) -> None:
        """Take the answer of a lane, which is free again."""
        host = search.host
        assert host is not None
        host.answered()
        self._tracks[host].free.append(lane)
        self._end(order, answer)

    def failed(self, lane: Lane, order: Order, search: Search, error: Exception) -> None:
        """Take an error in place of the answer, and try elsewhere if it is about the connection."""
        host = search.host
        assert host is not None
        lost = isinstance(error, host.errors) and host.is_lost(error, lane.connection)
        if lost or lane.connection.raw.closed:
            self.drop(lane)
        else:
            self._tracks[host].free.append(lane)
        failure: LookupFailure | None = None
        try:
            host.judge(error, lost, False, search.started_at, search.ticket)
        except LookupFailure as told:
            failure = told
        except HostDown as down:
            self._database.leave_host(search, down)
            if search.host is None:
                failure = LookupFailure(search.failure)
        if failure is None and not self._hand_over(order, search):
            failure = DriverFault(_BUSY)
        if failure is not None:
            self._end(order, failure)

    def drop(self, lane: Lane) -> None:
        """Close a lane and forget it."""
        for track in self._tracks.values():
            track.lanes.discard(lane)
            if lane in track.free:
                track.free.remove(lane)
        lane.close()

    def close(self) -> None:
        """Close all lanes, at the end of the process; may be called again."""
        for track in self._tracks.values():
            for lane in list(track.lanes):
                self.drop(lane)


class Lane:
    """One connection, watched by the loop from its adoption on, and the query under way on it."""

    def __init__(self, lanes: Lanes, connection: Connection) -> None:
        self.connection = connection
        self._raw: PgsqlConnection = connection.raw
        self._lanes = lanes
        self._loop = lanes.loop
        self._fd = self._raw.fileno()
        self._work: tuple[Order, Search] | None = None
        self._is_unsent = False
        self._loop.add(self._fd, _READ, self._on_event)

    def ask(self, order: Order, search: Search) -> None:
        """Send a query; its answer or error goes to `lanes`, maybe at once."""
        self._work = order, search
        self._loop.set_deadline(self, search.started_at + QUERY_S)
        try:
            self._is_unsent = self._raw.send(search.text, search.parameters)
            if self._is_unsent:
                self._loop.change(self._fd, _READ | select.EPOLLOUT)
        except Exception as error:
            self._failed(error)

    def _on_event(self, events: int) -> None:
        if self._work is None:
            self._raw.listen()
            # With its end it may have said nothing that libpq minds.
            if self._raw.closed or events & ~select.EPOLLIN:
                self._lanes.drop(self)
            return
        self._lanes.wake()
        try:
            if self._is_unsent:
                self._is_unsent = self._raw.flush()
                if self._is_unsent:
                    return
                self._loop.change(self._fd, _READ)
            result = self._raw.receive()
            if result is None:
                return
            answer = Answer(self._raw.columns(result), [*self._raw.rows(result, _ROWS)])
        except Exception as error:
            return self._failed(error)
        order, search = self._work
        self._work = None
        self._loop.drop_deadline(self)
        self._lanes.answered(self, order, search, answer)

    def on_deadline(self) -> None:
        """Give up on a server that does not answer."""
        self._lanes.wake()
        self._failed(self._raw.give_up())

    def _failed(self, error: Exception) -> None:
        assert self._work is not None
        order, search = self._work
        self._work = None
        self._loop.drop_deadline(self)
        self._lanes.failed(self, order, search, error)

    def close(self) -> None:
        """Close the connection; what it was asked is not answered."""
        self._work = None
        self._loop.drop_deadline(self)
        # libpq may have closed its socket already, whose number may be that of another one by now.
        self._loop.forget(self._fd)
        self._raw.close()


def _finish(database: Database, search: Search, wanted: Callable[[], bool]) -> Answer | LookupFailure:
    """Run a query in a thread; its failure is a value."""
    if not wanted():
        return DriverFault("not wanted any more")
    try:
        return database.finish(search)
    except LookupFailure as failure:
        return failure
    except Exception as failure:
        return fault_of(failure)
