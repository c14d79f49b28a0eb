"""The passdb `sql`: one row of a query is one user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mailproxy.auth.database import Row, Values
from mailproxy.base.errors import ConfigError, LookupFailure, Problem
from mailproxy.base.level import Level
from mailproxy.config.settings import SqlSettings
from mailproxy.passdb.sql_engine import Answer, Database
from mailproxy.passdb.sql_hosts import targets
from mailproxy.passdb.sql_template import DIALECTS, SqlTemplate, compile_query

Log = Callable[[Level, str], None]

_TARGET_FIELDS = ("host", "port", "destuser", "pass")
PASSDB_FIELDS = frozenset(
    ("password", "user", "nodelay", "nologin", "proxy", "allow_nets", "nopassword", "reason", *_TARGET_FIELDS)
)
USERDB_FIELDS = frozenset(["uid", "gid", "home", "mail"])

# By file, so that the passdb and userdb of one file share its connections.
_databases: dict[SqlSettings, Database] = {}


class SqlPassdb:
    """Asks `password_query`; safe for several threads, connects at the first lookup."""

    driver = "sql"
    blocking = True

    def __init__(self, settings: SqlSettings, log: Log) -> None:
        """Raises ConfigError when the query or the connect string cannot be used."""
        self.query = SqlQuery(settings, "password_query", settings.password_query, PASSDB_FIELDS, log)
        self.default_scheme = settings.default_pass_scheme.upper()
        self.cache_key: tuple[str, ...] | None = cache_key(self.query.template)

    def lookup(self, values: Values) -> Row | None:
        """Find the user. Raises LookupFailure."""
        found = self.query.row(values)
        return None if found is None else row_of(*found)

    def close(self) -> None:
        """Let go of connections."""
        self.query.close()


class SqlQuery:
    """One query of a SQL file, ready to run; shares its connections with others of the same file."""

    def __init__(
        self, settings: SqlSettings, name: str, query: str, fields: frozenset[str], log: Log
    ) -> None:
        """Raises ConfigError."""
        self._title = name.replace("_", " ").capitalize()
        self._known = fields
        self._seen: tuple[list[str], list[str]] = ([], [])
        if settings.driver not in DIALECTS:
            raise ConfigError([Problem(f"Unknown database driver '{settings.driver}'")])
        self.template = compile_query(query, settings.driver, f"sql: {name} in {settings.path}")
        if settings not in _databases:
            _databases[settings] = Database(targets(settings), log)
        self.database = _databases[settings]
        self.database.users += 1
        self._settings = settings
        self._tells_secret = "w" in self.template.letters

    def row(self, values: Values) -> tuple[list[str], Sequence[Any]] | None:
        """Return the names of the columns and the only row, None without one. Raises LookupFailure."""
        bound = self.template.bind(values)
        if bound is None:
            return None
        try:
            answer = self.database.query(self.template.text, bound)
        except LookupFailure as failure:
            raise self.told(failure) from None
        return self.only_row(answer)

    def told(self, failure: LookupFailure) -> LookupFailure:
        """Return what may be said of a failure."""
        # A database likes to quote the query, so a typed password in it could come back.
        words = "the database refused it" if self._tells_secret else failure
        return LookupFailure(f"{self._title} failed: {words}")

    def only_row(self, answer: Answer) -> tuple[list[str], Sequence[Any]] | None:
        """Return the names of the columns and the only row, None without one. Raises LookupFailure."""
        if len(answer.rows) > 1:
            raise LookupFailure(f"{self._title} returned multiple matches")
        if not answer.rows and answer.columns:
            return None
        return self._names(answer), answer.rows[0] if answer.rows else ()

    def _names(self, answer: Answer) -> list[str]:
        """Take a column in capitals for the field it means, unless the field itself is there too."""
        seen, meant = self._seen
        if answer.columns != seen:
            meant = [
                name.lower() if name.lower() in self._known and name.lower() not in answer.columns else name
                for name in answer.columns
            ]
            self._seen = answer.columns, meant
        return meant

    def close(self) -> None:
        """Let go of the database when nobody else uses it."""
        self.database.close()
        if self.database.users == 0:
            _databases.pop(self._settings, None)


def row_of(columns: list[str], row: Sequence[Any]) -> Row:
    """Tell the password from the fields. Raises LookupFailure."""
    if (count := columns.count("password")) != 1:
        raise LookupFailure(
            "Multiple password values not supported"
            if count
            else "Password query must return a field named 'password'"
        )
    password: bytes | None = None
    fields: dict[str, str] = {}
    for name, value in zip(columns, row, strict=True):
        if value is None:
            continue
        if name == "password":
            password = (
                value if isinstance(value, bytes) else text_of(value).encode("utf-8", "surrogateescape")
            )
        else:
            fields[name] = text_of(value)
    return Row(password, fields)


def cache_key(template: SqlTemplate) -> tuple[str, ...]:
    """Return the variables of the query, and the user even if it asks for none (`%d` alone, a constant).

    So no two users ever share an entry, and a query without `%u` needs no error.
    """
    return template.letters if {"u", "n"} & set(template.letters) else ("u", *template.letters)


def text_of(value: Any) -> str:
    """Return a column's value as text, as a C client library of any of the databases shows it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "surrogateescape")
    return str(value)
