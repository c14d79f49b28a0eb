"""Lookups by the way that auth goes with PostgreSQL: all from the thread of one loop."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from mailproxy.auth.database import Found, Row, Values
from mailproxy.auth.pool import Pool
from mailproxy.base.errors import LookupFailure
from mailproxy.net.reactor import READ, Reactor
from mailproxy.passdb.pgsql import PgsqlPassdb

PATIENCE_S = 60.0


class Looped:
    """A passdb with a loop in a thread; `lookup` may be called from any thread, and waits."""

    def __init__(self, passdb: PgsqlPassdb, limit: int = 10) -> None:
        self.passdb = passdb
        self.cache_key = passdb.cache_key
        self.default_scheme = passdb.default_scheme
        self._reactor = Reactor()
        self._pool = Pool(limit)
        self._calls: deque[Callable[[], None]] = deque()
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._reactor.add(self._event_fd, READ, self._on_calls)
        self._reactor.add(self._pool.fileno(), READ, lambda _events: self._pool.collect())
        passdb.attach(self._reactor, self._pool.submit, limit, lambda: None)
        self._thread = threading.Thread(target=self._reactor.run)
        self._thread.start()

    def _on_calls(self, _events: int) -> None:
        os.eventfd_read(self._event_fd)
        while self._calls:
            self._calls.popleft()()

    def _call(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        os.eventfd_write(self._event_fd, 1)

    def lookup(self, values: Values) -> Row | None:
        """Find the user. Raises LookupFailure."""
        found: SimpleQueue[Found] = SimpleQueue()

        def begin() -> None:
            if not self.passdb.begin(values, lambda: True, found.put):
                found.put(LookupFailure("too much waits"))

        self._call(begin)
        result = found.get(timeout=PATIENCE_S)
        if isinstance(result, LookupFailure):
            raise result
        return result

    def close(self) -> None:
        """End the loop, then let go of connections."""
        self._call(self._reactor.stop)
        self._thread.join()
        os.close(self._event_fd)
        self._pool.close()
        self._reactor.close()
        self.passdb.close()
