"""A real SQLite, MariaDB or PostgreSQL, and a passdb that asks it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mailproxy.auth.database import Row
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.config.settings import SqlSettings
from mailproxy.passdb.pgsql import PgsqlPassdb
from mailproxy.passdb.sql import SqlPassdb
from mailproxy.userdb.sql import SqlUserdb
from tests.harness.databases import Server
from tests.integration.sql.looped import Looped

T = TypeVar("T")

SEED_TABLE = """CREATE TABLE proxy (
  {user} varchar(255) NOT NULL,
  host varchar(16) default NULL,
  destuser varchar(255) NOT NULL default '',
  PRIMARY KEY  ({user})
)"""
SEED_QUERY = "SELECT NULL AS password, host, destuser, 'Y' AS proxy FROM proxy WHERE {user} = '%u'"

HOSTILE = [
    "x' OR '1'='1",
    "x'; DROP TABLE proxy; --",
    'x" OR ""="',
    "x\\' OR 1=1 -- ",
    "x\\",
    "'",
    "''",
    "x /* ",
    "%s",
    "%(u)s",
    ":u ?1 $1 {u}",
    "\u00bf' OR 1=1",
    "\u2019 OR 1=1",
    "x\nDROP TABLE proxy",
]


class SqliteFile:
    """A SQLite file with the verbs of a server: stopping it takes the file away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.execute("PRAGMA user_version = 1")

    @property
    def connect_string(self) -> str:
        return str(self.path)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    def stop(self) -> None:
        self.path.rename(self.path.with_suffix(".away"))

    def start(self) -> None:
        self.path.with_suffix(".away").rename(self.path)


class Backend:
    """One database of a kind, its dialect, and the drivers opened on it."""

    def __init__(self, driver: str, server: SqliteFile | Server, *, in_loop: bool = False) -> None:
        self.driver = driver
        self._in_loop = in_loop
        self.server = server
        self.lines: list[tuple[Level, str]] = []
        self._open: list[SqlPassdb | SqlUserdb | Looped] = []
        self.user = '"user"' if driver == "pgsql" else "user"

    def settings(self, password_query: str = "", user_query: str = "", connect: str = "") -> SqlSettings:
        return SqlSettings(
            "dovecot-sql.conf",
            self.driver,
            connect or self.server.connect_string,
            password_query or SEED_QUERY.format(user=self.user),
            user_query,
            "PLAIN-MD5",
        )

    def passdb(self, query: str = "", connect: str = "") -> SqlPassdb | Looped:
        settings = self.settings(query, connect=connect)
        passdb: SqlPassdb | Looped
        if self._in_loop:
            passdb = Looped(PgsqlPassdb(settings, lambda *line: self.lines.append(line)))
        else:
            passdb = SqlPassdb(settings, lambda *line: self.lines.append(line))
        self._open.append(passdb)
        return passdb

    def userdb(self, query: str) -> SqlUserdb:
        userdb = SqlUserdb(self.settings(user_query=query), lambda *line: self.lines.append(line))
        self._open.append(userdb)
        return userdb

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.execute(sql)

    def seed(self) -> None:
        self.execute("DROP TABLE IF EXISTS proxy")
        self.execute(SEED_TABLE.format(user=self.user))
        self.execute("INSERT INTO proxy VALUES ('john', '192.168.0.1', '')")
        self.execute("INSERT INTO proxy VALUES ('joe', '192.168.0.2', 'joe@example.com')")

    def insert(self, name: str, host: str) -> None:
        raw = name.encode().hex()
        literal = {
            "sqlite": f"CAST(X'{raw}' AS TEXT)",
            "mysql": f"CONVERT(X'{raw}' USING utf8mb4)",
            "pgsql": f"convert_from('\\x{raw}', 'UTF8')",
        }[self.driver]
        self.execute(f"INSERT INTO proxy VALUES ({literal}, '{host}', '')")

    def close(self) -> None:
        for database in self._open:
            database.close()


NETWORK = pytest.mark.parametrize("backend", ["mysql", "pgsql", "pgsql-loop"], indirect=True)


def until(ready: Callable[[], T], deadline_s: float = 20.0) -> T:
    """Call `ready` until it raises LookupFailure no more."""
    ends_at = time.monotonic() + deadline_s
    while True:
        try:
            return ready()
        except LookupFailure:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)


def host_of(row: Row | None) -> str:
    assert row is not None
    return row.fields["host"]
