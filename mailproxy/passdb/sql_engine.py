"""The hosts of one SQL database: pooled connections, failover, and the way back.

A query goes to the hosts in turn (Dovecot's round robin). A host that fails is left alone for 1 s, then
5 s, then 10 s at a time; one thread at a time tries whether it is back. SQLAlchemy keeps the pools and
knows each driver's errors; its statement layer is not used, which would cost 25 us a lookup.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.text import printable

CONNECT_S = 4.0
QUERY_S = 10.0
"""For one answer. A lookup begins its last attempt within two of these, so that it ends in time for
limits.LOOKUP_S even if that one connects (4 s), shakes hands (10 s) and waits (10 s) in vain."""
BACKOFF_S = (1.0, 5.0, 10.0)
ERROR_CHARS = 300

# Without a handler their complaints about dead connections would go to standard error.
for library in ("sqlalchemy", "psycopg"):
    logging.getLogger(library).addHandler(logging.NullHandler())

Log = Callable[[Level, str], None]
Clock = Callable[[], float]


class Answer(NamedTuple):
    """What a query returned: at most two rows, since the second one only tells that there are several."""

    columns: list[str]
    rows: list[Sequence[Any]]


class Target(NamedTuple):
    """Where one host is: everything that differs between drivers."""

    url: str
    """SQLAlchemy's name of dialect and driver, without any address."""
    label: str
    """How log lines name it; holds no secret."""
    connect: Callable[[], Any]
    """Opens a DBAPI connection, within CONNECT_S and in autocommit mode."""
    connect_failed: str
    """Begins the log line about a failed connect, such as `mysql: Connect failed to`."""
    connected: str = ""
    """Begins the log line about a new host; empty for none."""
    backoff: bool = True
    identity: Callable[[], Hashable] = lambda: None
    """What a connection was made to (a file's inode); a connection to something else is stale."""


class HostDown(Exception):
    """This host did not answer; its text is fit for the log."""


class Host:
    """One host's pool and its state; serves several threads."""

    def __init__(self, target: Target, log: Log, clock: Clock) -> None:
        self._target = target
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._up = False
        self._failures = 0
        self._retry_at = float("-inf")
        # pool_size=0 is no limit: as many as auth has threads, and all of them are kept.
        self._engine = create_engine(
            target.url,
            creator=target.connect,
            poolclass=QueuePool,
            pool_size=0,
            pool_reset_on_return=None,
            pool_use_lifo=True,
        )
        dbapi = self._engine.dialect.dbapi
        assert dbapi is not None
        # PyMySQL says RuntimeError when a way to log in needs a package that is not there.
        self._errors: tuple[type[Exception], ...] = (dbapi.Error, SQLAlchemyError, OSError, RuntimeError)

    def claim(self) -> int | None:
        """Return the ticket to try this host now, None while it is left alone.

        The ticket is the number of failures so far; a host that is down gives one to one thread at a time.
        """
        if self._failures == 0:
            return 0
        with self._lock:
            now = self._clock()
            if now < self._retry_at:
                return None
            self._retry_at = now + CONNECT_S + QUERY_S
            return self._failures

    def query(self, text: str, parameters: tuple[str, ...], started_at: float, ticket: int) -> Answer:
        """Run one query. Raises HostDown to go on elsewhere, LookupFailure when the query is wrong."""
        while True:
            connection, fresh = self._checkout(ticket)
            try:
                # A connection keeps its cursor: a new one costs psycopg more than a quarter of the query.
                cursor = connection.info.pop("cursor", None) or connection.cursor()
                cursor.execute(text, parameters)
                columns = [column[0] for column in cursor.description or ()]
                rows = list(cursor.fetchmany(2)) if columns else []
                if len(rows) < 2:
                    connection.info["cursor"] = cursor
                else:
                    cursor.close()  # Rows that nobody has read would hold a lock in SQLite.
                self._answered()
                return Answer(columns, rows)
            except self._errors as error:
                raw = connection.dbapi_connection
                if not self._engine.dialect.is_disconnect(error, raw, None):  # type: ignore[arg-type]
                    self._answered()
                    raise LookupFailure(cleaned(error)) from None
                connection.invalidate(error)
                # A pooled connection may have died long ago, so take the next; a new one died of now.
                if fresh or self._clock() - started_at >= QUERY_S:
                    self._failed(error, ticket)
                    raise HostDown(cleaned(error)) from None
            finally:
                connection.close()

    def _checkout(self, ticket: int) -> tuple[PoolProxiedConnection, bool]:
        """Return a connection and whether it is new."""
        while True:
            identity = self._target.identity()
            try:
                connection = self._engine.raw_connection()
            except self._errors as error:
                self._failed(error, ticket)
                raise HostDown(
                    f"{self._target.connect_failed} {self._target.label}: {cleaned(error)}"
                ) from None
            made_for = connection.info.setdefault("identity", identity)
            if made_for != identity:
                connection.invalidate()
                connection.close()
                continue
            fresh = "used" not in connection.info
            connection.info["used"] = True
            return connection, fresh

    def _answered(self) -> None:
        """Forget the failures; a connection alone, which may be an old one, is no sign of life."""
        if self._up:
            return
        with self._lock:
            known, self._up, self._failures = self._up, True, 0
        if self._target.connected and not known:
            self._log(Level.INFO, f"{self._target.connected} {self._target.label}")

    def _failed(self, error: Exception, ticket: int) -> None:
        """Count a failure once for all threads that ran into it, and say so in one line."""
        if not self._target.backoff:
            return
        with self._lock:
            if self._failures != ticket:
                return
            wait_s = BACKOFF_S[min(ticket, len(BACKOFF_S) - 1)]
            self._failures += 1
            self._up = False
            self._retry_at = self._clock() + wait_s
        self._log(
            Level.ERROR,
            f"{self._target.connect_failed} {self._target.label}: {cleaned(error)}"
            f" - waiting for {wait_s:.0f} seconds before retry",
        )

    def close(self) -> None:
        """Close the idle connections; one that is in use is closed when its query ends."""
        self._engine.dispose()


class Database:
    """All hosts of one `dovecot-sql.conf`; shared by its passdb and userdb, each of which closes it."""

    def __init__(self, targets: Sequence[Target], log: Log, clock: Clock = time.monotonic) -> None:
        self._hosts = [Host(target, log, clock) for target in targets]
        self._clock = clock
        self._turns = itertools.count()
        self.users = 0

    def query(self, text: str, parameters: tuple[str, ...]) -> Answer:
        """Run a query on the next host that answers. Raises LookupFailure."""
        started_at = self._clock()
        hosts = self._hosts
        turn = next(self._turns) % len(hosts)
        failure = "Not connected to database"
        for host in hosts[turn:] + hosts[:turn]:
            if (ticket := host.claim()) is not None:
                try:
                    return host.query(text, parameters, started_at, ticket)
                except HostDown as down:
                    failure = str(down)
                if self._clock() - started_at >= 2 * QUERY_S:
                    break
        raise LookupFailure(failure)

    def close(self) -> None:
        """Let go of the connections when the last user does."""
        self.users -= 1
        if self.users <= 0:
            for host in self._hosts:
                host.close()


def cleaned(error: Exception) -> str:
    """Return a driver's words in one line; drivers keep the password out of them."""
    words = error.args[-1] if error.args and isinstance(error.args[-1], str) else str(error)
    return printable(" ".join(words.split()), ERROR_CHARS) or type(error).__name__
