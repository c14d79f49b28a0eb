"""Databases with nothing in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.databases import MariaDb, PostgreSql, Server
from tests.integration.sql.sql_backend import Backend, SqliteFile


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    if MariaDb.program() is None:
        pytest.skip("mariadbd is not installed")
    with MariaDb() as server:
        yield server


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSql]:
    if PostgreSql.program() is None:
        pytest.skip("postgres is not installed")
    with PostgreSql() as server:
        yield server


@pytest.fixture(params=["sqlite", "mysql", "pgsql", "pgsql-loop"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    server: SqliteFile | Server
    if request.param == "sqlite":
        server = SqliteFile(tmp_path / "mail.sqlite")
    else:
        server = request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql")
    driver = request.param.removesuffix("-loop")
    backend = Backend(driver, server, in_loop=driver != request.param)
    backend.seed()
    yield backend
    backend.close()


# SQLite has no hosts.
