"""The hosts of one SQL database: pooled connections, failover, and the way back.

A query goes to the hosts in turn (Dovecot's round robin). A host that fails is left alone for 1 s, then
5 s, then 10 s at a time; one thread at a time tries whether it is back. SQLAlchemy knows which errors of
a driver mean a lost connection; its statements and pools are not used, which would cost 40 us a lookup.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from sqlalchemy.engine import make_url

from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.text import printable

CONNECT_S = 4.0
QUERY_S = 10.0
"""For one answer. A lookup begins its last attempt within two of these, so that it ends in time for
limits.LOOKUP_S even if that one connects (4 s), shakes hands (10 s) and waits (10 s) in vain."""
BACKOFF_S = (1.0, 5.0, 10.0)
ERROR_CHARS = 300

# Without a handler its complaints about dead connections would go to standard error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

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


class DriverFault(LookupFailure):
    """Nothing that the database has said; ends this query only. Its text quotes nothing."""


class Connection:
    """A DBAPI connection with its cursor; `identity` is what it was made to."""

    def __init__(self, raw: Any, identity: Hashable) -> None:
        self.raw = raw
        self.identity = identity
        self._cursor: Any = None

    def ask(self, text: str, parameters: tuple[str, ...]) -> Answer:
        """Run a query. Raises what the driver does."""
        cursor, self._cursor = self._cursor or self.raw.cursor(), None
        cursor.execute(text, parameters)
        columns = [column[0] for column in cursor.description or ()]
        rows = list(cursor.fetchmany(2)) if columns else []
        if len(rows) < 2:
            self._cursor = cursor
        else:
            cursor.close()  # Rows that nobody has read would hold a lock in SQLite.
        return Answer(columns, rows)

    def close(self) -> None:
        """Close it; one that is dead already may complain, which tells nothing."""
        with contextlib.suppress(Exception):
            self.raw.close()


class Host:
    """One host's connections and its state; serves several threads."""

    def __init__(self, target: Target, log: Log, clock: Clock) -> None:
        self._target = target
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._up = False
        self._failures = 0
        self._retry_at = float("-inf")
        # As many as threads needed at once, the last used on top; a deque needs no lock.
        self._idle: deque[Connection] = deque()
        self._closed = False
        dialect = make_url(target.url).get_dialect()
        dbapi = dialect.import_dbapi()
        self._is_disconnect = dialect(dbapi=dbapi).is_disconnect  # type: ignore[call-arg]
        # PyMySQL says RuntimeError when a way to log in needs a package that is not there.
        self.errors: tuple[type[Exception], ...] = (dbapi.Error, OSError, RuntimeError)

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
            lost = False
            try:
                answer = connection.ask(text, parameters)
                self.answered()
                return answer
            except self.errors as error:
                lost = self.is_lost(error, connection)
                self.judge(error, lost, fresh, started_at, ticket)
            finally:
                if lost:
                    connection.close()
                else:
                    self._give_back(connection)

    def is_lost(self, error: Exception, connection: Connection) -> bool:
        """Whether the error means that the connection is lost."""
        return self._is_disconnect(error, connection.raw, None)  # type: ignore[arg-type]

    def judge(self, error: Exception, lost: bool, fresh: bool, started_at: float, ticket: int) -> None:
        """Return if the query may be tried again here. Raises HostDown and LookupFailure as `query` does."""
        if not isinstance(error, self.errors):
            raise fault_of(error) from None
        if not lost:
            self.answered()
            raise LookupFailure(cleaned(error)) from None
        # An idle connection may have died long ago, so take the next; a new one died of now.
        if fresh or self._clock() - started_at >= QUERY_S:
            self._failed(error, ticket)
            raise HostDown(cleaned(error)) from None

    def spare(self) -> Connection | None:
        """Return an idle connection, which is the caller's from now on; None if there is none."""
        identity = self._target.identity()
        with contextlib.suppress(IndexError):
            while (connection := self._idle.pop()).identity != identity:
                connection.close()
            return connection
        return None

    def _checkout(self, ticket: int) -> tuple[Connection, bool]:
        """Return a connection and whether it is new."""
        if (connection := self.spare()) is not None:
            return connection, False
        identity = self._target.identity()
        try:
            return Connection(self._target.connect(), identity), True
        except self.errors as error:
            self._failed(error, ticket)
            raise HostDown(f"{self._target.connect_failed} {self._target.label}: {cleaned(error)}") from None

    def _give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self.close()

    def answered(self) -> None:
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
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()


class Search:
    """One query on its way from host to host, until one answers."""

    __slots__ = ("_rest", "failure", "host", "parameters", "started_at", "text", "ticket")

    def __init__(
        self, text: str, parameters: tuple[str, ...], started_at: float, hosts: Sequence[Host]
    ) -> None:
        self.text = text
        self.parameters = parameters
        self.started_at = started_at
        self.failure = "Not connected to database"
        """Of the last host that was tried."""
        self.host: Host | None
        """Whose turn it is; None when there is no other to try."""
        self.ticket: int
        self._rest = hosts
        self.go_on()

    def go_on(self) -> None:
        """Turn to the next host that is not left alone."""
        for place, host in enumerate(self._rest, 1):
            if (ticket := host.claim()) is not None:
                self.host, self.ticket, self._rest = host, ticket, self._rest[place:]
                return
        self.host, self.ticket, self._rest = None, 0, ()


class Database:
    """All hosts of one `dovecot-sql.conf`; shared by its passdb and userdb, each of which closes it."""

    def __init__(self, targets: Sequence[Target], log: Log, clock: Clock = time.monotonic) -> None:
        self.hosts = tuple(Host(target, log, clock) for target in targets)
        self.clock = clock
        self._turns = itertools.count()
        self.users = 0

    def query(self, text: str, parameters: tuple[str, ...]) -> Answer:
        """Run a query on the next host that answers. Raises LookupFailure."""
        return self.finish(self.search(text, parameters))

    def search(self, text: str, parameters: tuple[str, ...], first: Host | None = None) -> Search:
        """Begin a query at `first`, or at the host whose turn it is; `finish` runs it."""
        hosts = self.hosts
        turn = hosts.index(first) if first is not None else next(self._turns) % len(hosts)
        return Search(text, parameters, self.clock(), hosts[turn:] + hosts[:turn])

    def finish(self, search: Search) -> Answer:
        """Run a query from the host on where its search is. Raises LookupFailure."""
        while (host := search.host) is not None:
            try:
                return host.query(search.text, search.parameters, search.started_at, search.ticket)
            except HostDown as down:
                self.leave_host(search, down)
        raise LookupFailure(search.failure)

    def leave_host(self, search: Search, down: HostDown) -> None:
        """Turn to the next host, if there is one and time for it."""
        search.failure = str(down)
        if self.clock() - search.started_at >= 2 * QUERY_S:
            search.host = None
        else:
            search.go_on()

    def close(self) -> None:
        """Let go of the connections when the last user does."""
        self.users -= 1
        if self.users <= 0:
            for host in self.hosts:
                host.close()


def fault_of(error: Exception) -> DriverFault:
    """Name an error that nobody foresaw; its text may quote what must not be logged."""
    return DriverFault(f"Lookup failed: {type(error).__name__}")


def cleaned(error: Exception) -> str:
    """Return a driver's words in one line; drivers keep the password out of them."""
    words = error.args[-1] if error.args and isinstance(error.args[-1], str) else str(error)
    return printable(" ".join(words.split()), ERROR_CHARS) or type(error).__name__
