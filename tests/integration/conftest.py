"""Servers that integration tests share: two Dovecots with different mail, and the databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.databases import MariaDb, PostgreSql
from tests.harness.dovecot import DovecotBackend
from tests.harness.folder import open_folder
from tests.harness.ports import free_port
from tests.harness.proxy import Proxy
from tests.integration import document
from tests.integration.document import JOE, JOE_THERE, JOHN, PASSWORDS


@pytest.fixture(scope="session")
def one() -> Iterator[DovecotBackend]:
    """John's server."""
    with DovecotBackend("one", {JOHN: PASSWORDS[JOHN]}) as backend:
        yield backend


@pytest.fixture(scope="session")
def two() -> Iterator[DovecotBackend]:
    """Joe's server, where he is joe@example.com."""
    with DovecotBackend("two", {JOE_THERE: PASSWORDS[JOE]}) as backend:
        yield backend


@pytest.fixture(scope="session")
def mariadb(one: DovecotBackend, two: DovecotBackend) -> Iterator[MariaDb]:
    """A MariaDB with the document's table."""
    with MariaDb(port=free_port()) as server:
        document.fill(server, "mysql", one, two)
        yield server


@pytest.fixture(scope="session")
def postgresql(one: DovecotBackend, two: DovecotBackend) -> Iterator[PostgreSql]:
    """A PostgreSQL with the document's table."""
    with PostgreSql(port=free_port()) as server:
        document.fill(server, "pgsql", one, two)
        yield server


@pytest.fixture(scope="session")
def sqlite(one: DovecotBackend, two: DovecotBackend) -> Iterator[Path]:
    """A database file with the document's table, readable by everybody."""
    with open_folder("sqlite") as folder:
        path = folder / "proxy.sqlite"
        with sqlite3.connect(path) as database:
            database.execute(document.TABLE)
            database.executemany("INSERT INTO proxy VALUES (?, ?, ?)", document.rows(one, two))
        database.close()
        yield path


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy yet to be configured and started."""
    with Proxy([*PASSWORDS.values(), DovecotBackend.master_password]) as installation:
        yield installation


@pytest.fixture
def running(proxy: Proxy, sqlite: Path, one: DovecotBackend) -> Proxy:
    """The document's proxy over SQLite, started, with two workers a protocol."""
    document.configure(
        proxy, "sqlite", str(sqlite), document.query("sqlite", one), more="login_processes_count = 2\n"
    )
    proxy.start()
    return proxy
