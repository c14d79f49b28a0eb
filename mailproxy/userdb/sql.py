"""The userdb `sql`: one row of `user_query` is one user; it shares its connections with the passdb."""

from __future__ import annotations

from mailproxy.auth.database import Values
from mailproxy.base.errors import LookupFailure
from mailproxy.config.settings import SqlSettings
from mailproxy.passdb import Log
from mailproxy.passdb.sql import USERDB_FIELDS, SqlQuery, text_of
from mailproxy.userdb.ids import gid_of, uid_of


class SqlUserdb:
    """Asks `user_query`; safe for several threads, connects at the first lookup."""

    driver = "sql"
    blocking = True

    def __init__(self, settings: SqlSettings, log: Log) -> None:
        """Raises ConfigError when the query or the connect string cannot be used."""
        self._query = SqlQuery(settings, "user_query", settings.user_query, USERDB_FIELDS, log)

    def lookup(self, values: Values) -> dict[str, str] | None:
        """Find the user's fields. Raises LookupFailure, also without uid and gid."""
        found = self._query.row(values)
        if found is None:
            return None
        columns, row = found
        fields = {name: text_of(value) for name, value in zip(columns, row, strict=True) if value is not None}
        for key, resolve in (("uid", uid_of), ("gid", gid_of)):
            if key not in fields:
                raise LookupFailure(f"User query didn't return {key}, or it was NULL")
            number = resolve(fields[key])
            if number is None:
                raise LookupFailure(f"User query returned an invalid {key}")
            fields[key] = number
        return fields

    def close(self) -> None:
        """Let go of connections."""
        self._query.close()
