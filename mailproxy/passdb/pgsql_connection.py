"""PostgreSQL by libpq alone: psycopg connects, and a query goes past its cursors, which cost half a lookup.

All values are text, as a C client sees them: `t` and `f` for booleans, hexadecimal for bytes.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from mailproxy.passdb.sql_engine import QUERY_S

_GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
_RESULTS = (*_GOOD, ExecStatus.FATAL_ERROR)


class PgsqlConnection:
    """What a host needs of a DBAPI connection; for one thread at a time.

    Each query commits itself. None is prepared under a name, which would break behind a connection pooler.
    """

    def __init__(self, conninfo: str) -> None:
        """Connect, within the `connect_timeout` of `conninfo`. Raises psycopg.Error."""
        self._connection = psycopg.connect(conninfo, autocommit=True)
        self._pgconn = self._connection.pgconn
        encoding = self._connection.info.encoding
        # PostgreSQL's SQL_ASCII is any bytes.
        self.encoding = "utf-8" if encoding == "ascii" else encoding
        # No select(): auth may have descriptors above its 1023.
        self._found: PGresult | None = None
        """The result of the statement under way, until the server is ready for the next."""
        self._socket = select.poll()
        self._socket.register(self._pgconn.socket, select.POLLIN)

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or lost."""
        return self._connection.closed

    @property
    def broken(self) -> bool:
        """Whether the connection is lost."""
        return self._connection.broken

    def cursor(self) -> PgsqlCursor:
        """Return a cursor; the connection has one answer at a time."""
        return PgsqlCursor(self)

    def close(self) -> None:
        """Close the connection; may be called again."""
        self._connection.close()

    def fileno(self) -> int:
        """The socket, for as long as the connection is neither closed nor lost."""
        return self._pgconn.socket

    def ask(self, text: str, parameters: Sequence[str]) -> PGresult:
        """Run one statement and return its result. Raises psycopg.Error.

        Unless the server has answered within QUERY_S, the connection is closed: what still came would be
        taken for the next answer.
        """
        # Each wait has to end: libpq has no timeout, and a frozen server sends nothing.
        ends_at = time.monotonic() + QUERY_S
        is_unsent = self.send(text, parameters)
        while is_unsent:
            self._wait(ends_at, select.POLLIN | select.POLLOUT)
            is_unsent = self.flush()
        while True:
            self._wait(ends_at)
            if (result := self.receive()) is not None:
                return result

    def send(self, text: str, parameters: Sequence[str]) -> bool:
        """Begin one statement without waiting; return whether `flush` has to send more. Raises psycopg.Error.

        This, `flush` and `receive` close the connection when the exchange fails.
        """
        encoding = self.encoding
        # Outside: what cannot be encoded is no fault of the connection.
        statement, values = text.encode(encoding), [value.encode(encoding) for value in parameters]
        try:
            self._pgconn.send_query_params(statement, values)
            return bool(self._pgconn.flush())
        except BaseException:
            self.close()
            raise

    def flush(self) -> bool:
        """Send more of a long statement; return whether there is still more. Raises psycopg.Error."""
        try:
            # While it does not read, the server may wait for us to read.
            self._pgconn.consume_input()
            return bool(self._pgconn.flush())
        except BaseException:
            self.close()
            raise

    def receive(self) -> PGresult | None:
        """Take what the server has sent; return the result when it is complete. Raises psycopg.Error."""
        try:
            self._pgconn.consume_input()
            result = self._complete()
        except BaseException:
            self.close()
            raise
        if result is not None and result.status not in _GOOD:
            raise error_from_result(result, self.encoding)
        return result

    def _complete(self) -> PGresult | None:
        pgconn = self._pgconn
        # Not ready, get_result would wait for ever, and for all threads.
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                if self._found is None:
                    raise psycopg.InterfaceError("the query has no result")
                found, self._found = self._found, None
                return found
            if result.status not in _RESULTS:
                # After a COPY libpq would go on with such results for ever.
                raise psycopg.ProgrammingError("the query is none that returns rows")
            self._found = result
        return None

    def listen(self) -> None:
        """Take what the server says unasked; close the connection if that is its end."""
        try:
            self._pgconn.consume_input()
            # Lets libpq understand it.
            self._pgconn.is_busy()
        except psycopg.Error:
            self.close()

    def give_up(self) -> psycopg.Error:
        """Close the connection, as no answer has come within QUERY_S; return what to say of it."""
        self.close()
        return psycopg.OperationalError(f"no answer within {QUERY_S:.0f} seconds")

    def _wait(self, ends_at: float, events: int = select.POLLIN) -> None:
        # Raises if libpq has closed its socket meanwhile, whose number may be that of another one by now.
        self._socket.modify(self._pgconn.socket, events)
        if not self._socket.poll(max(0.0, ends_at - time.monotonic()) * 1000):
            raise self.give_up()

    def columns(self, result: PGresult) -> list[str]:
        """The names of a result's columns; empty if there are none."""
        encoding = self.encoding
        return [
            (result.fname(column) or b"").decode(encoding, "surrogateescape")
            for column in range(result.nfields)
        ]

    def rows(self, result: PGresult, limit: int) -> list[list[str | None]]:
        """The first rows of a result, at most so many."""
        encoding, get = self.encoding, result.get_value
        columns = range(result.nfields)
        return [
            [
                None if (value := get(row, column)) is None else value.decode(encoding, "surrogateescape")
                for column in columns
            ]
            for row in range(min(limit, result.ntuples))
        ]


class PgsqlCursor:
    """The part of a DBAPI cursor that a host uses; placeholders are `$1`, `$2` and so on."""

    def __init__(self, connection: PgsqlConnection) -> None:
        self._connection = connection
        self._result: PGresult | None = None

    def execute(self, text: str, parameters: Sequence[str]) -> None:
        """Run one statement. Raises psycopg.Error."""
        self._result = self._connection.ask(text, parameters)

    @property
    def description(self) -> list[tuple[str]]:
        """The names of the columns; empty if there are none."""
        result = self._result
        return [] if result is None else [(name,) for name in self._connection.columns(result)]

    def fetchmany(self, limit: int) -> list[list[str | None]]:
        """Return the first rows, at most so many; the same ones again when called again."""
        result = self._result
        return [] if result is None else self._connection.rows(result, limit)

    def close(self) -> None:
        """Let go of the result."""
        self._result = None
