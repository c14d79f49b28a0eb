"""The passdb `sql` with `driver = pgsql`, which can be asked in the loop as well as in a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mailproxy.auth.database import Found, Loop, Submit, Values
from mailproxy.base.errors import LookupFailure
from mailproxy.passdb.pgsql_lanes import Lanes, Order
from mailproxy.passdb.sql import SqlPassdb, row_of
from mailproxy.passdb.sql_engine import Answer, Database, DriverFault, fault_of

# By database, so that the passdbs of one file share its connections here as well.
_lanes: dict[Database, Lanes] = {}


class PgsqlPassdb(SqlPassdb):
    """Asks `password_query`; `lookup` is for threads, `begin` for the thread of the loop."""

    def attach(self, loop: Loop, submit: Submit, limit: int, wake: Callable[[], None]) -> None:
        """Tell it the loop, before anything is asked."""
        database = self.query.database
        if database not in _lanes:
            _lanes[database] = Lanes(database, loop, submit, limit, wake)
        self._lanes = _lanes[database]

    def begin(self, values: Values, wanted: Callable[[], bool], done: Callable[[Found], None]) -> bool:
        """Call `done` with what is found, now or later; False when too much waits already."""
        template = self.query.template
        try:
            bound = template.bind(values)
        except Exception as fault:
            done(fault_of(fault))
            return True
        if bound is None:
            done(None)
            return True
        return self._lanes.begin(Order(template.text, bound, wanted, partial(self._answered, done)))

    def _answered(self, done: Callable[[Found], None], answer: Answer | LookupFailure) -> None:
        done(self._found(answer))

    def _found(self, answer: Answer | LookupFailure) -> Found:
        if isinstance(answer, LookupFailure):
            return answer if isinstance(answer, DriverFault) else self.query.told(answer)
        try:
            only = self.query.only_row(answer)
            return None if only is None else row_of(*only)
        except LookupFailure as failure:
            return failure
        except Exception as fault:
            return fault_of(fault)

    def close(self) -> None:
        """Let go of connections."""
        if (lanes := _lanes.pop(self.query.database, None)) is not None:
            lanes.close()
        super().close()
