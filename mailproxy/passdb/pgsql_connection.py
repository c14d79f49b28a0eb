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

    def ask(self, text: bytes, values: Sequence[bytes]) -> PGresult:
        """Run one statement and return its result. Raises psycopg.Error.

        Unless the server has answered within QUERY_S, the connection is closed: what still came would be
        taken for the next answer.
        """
        try:
            result = self._exchange(text, values)
        except BaseException:
            self.close()
            raise
        if result.status not in _GOOD:
            raise error_from_result(result, self.encoding)
        return result

    def _exchange(self, text: bytes, values: Sequence[bytes]) -> PGresult:
        # Each wait has to end: libpq has no timeout, and a frozen server sends nothing.
        ends_at = time.monotonic() + QUERY_S
        pgconn = self._pgconn
        pgconn.send_query_params(text, values)
        while pgconn.flush():
            self._wait(ends_at, select.POLLIN | select.POLLOUT)
        self._wait(ends_at)
        found: PGresult | None = None
        while True:
            # Not ready, get_result would wait for ever, and for all threads.
            while pgconn.is_busy():
                self._wait(ends_at)
            result = pgconn.get_result()
            if result is None:
                break
            if result.status not in _RESULTS:
                # After a COPY libpq would go on with such results for ever.
                raise psycopg.ProgrammingError("the query is none that returns rows")
            found = result
        if found is None:
            raise psycopg.InterfaceError("the query has no result")
        return found

    def _wait(self, ends_at: float, events: int = select.POLLIN) -> None:
        """Wait for the server and take what it sends."""
        # Raises if libpq has closed its socket meanwhile, whose number may be that of another one by now.
        self._socket.modify(self._pgconn.socket, events)
        if not self._socket.poll(max(0.0, ends_at - time.monotonic()) * 1000):
            raise psycopg.OperationalError(f"no answer within {QUERY_S:.0f} seconds")
        self._pgconn.consume_input()


class PgsqlCursor:
    """The part of a DBAPI cursor that a host uses; placeholders are `$1`, `$2` and so on."""

    def __init__(self, connection: PgsqlConnection) -> None:
        self._connection = connection
        self._encoding = connection.encoding
        self._result: PGresult | None = None

    def execute(self, text: str, parameters: Sequence[str]) -> None:
        """Run one statement. Raises psycopg.Error."""
        encoding = self._encoding
        values = [value.encode(encoding) for value in parameters]
        self._result = self._connection.ask(text.encode(encoding), values)

    @property
    def description(self) -> list[tuple[str]]:
        """The names of the columns; empty if there are none."""
        result = self._result
        if result is None:
            return []
        return [(self._text(result.fname(column) or b""),) for column in range(result.nfields)]

    def fetchmany(self, limit: int) -> list[list[str | None]]:
        """Return the first rows, at most so many; the same ones again when called again."""
        result = self._result
        if result is None:
            return []
        columns = range(result.nfields)
        return [
            [
                None if (value := result.get_value(row, column)) is None else self._text(value)
                for column in columns
            ]
            for row in range(min(limit, result.ntuples))
        ]

    def close(self) -> None:
        """Let go of the result."""
        self._result = None

    def _text(self, value: bytes) -> str:
        return value.decode(self._encoding, "surrogateescape")
