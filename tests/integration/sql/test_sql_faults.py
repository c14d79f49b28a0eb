"""The sql passdb against real SQLite, MariaDB and PostgreSQL: absent, lost, hanging, locked."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.limits import LOOKUP_S
from mailproxy.passdb import pgsql_connection, pgsql_lanes, sql_engine, sql_hosts
from mailproxy.passdb.sql import SqlPassdb
from tests.harness.databases import MariaDb, PostgreSql, Server
from tests.integration.sql.looped import Looped
from tests.integration.sql.sql_backend import NETWORK, Backend, SqliteFile, host_of, until


def test_database_absent_at_start_and_lost_later(backend: Backend) -> None:
    """S07: starts anyway, fails while the database is away, recovers without a restart."""
    backend.server.stop()
    try:
        passdb = backend.passdb()
        for _ in range(5):
            with pytest.raises(LookupFailure) as caught:
                passdb.lookup({"u": "john"})
            assert "secret" not in str(caught.value)
        if isinstance(backend.server, SqliteFile):
            assert not backend.server.path.exists()
    finally:
        backend.server.start()
    assert host_of(until(lambda: passdb.lookup({"u": "john"}))) == "192.168.0.1"
    backend.server.stop()
    try:
        with pytest.raises(LookupFailure):
            passdb.lookup({"u": "john"})
    finally:
        backend.server.start()
    assert host_of(until(lambda: passdb.lookup({"u": "joe"}))) == "192.168.0.2"


def test_schema_gone(backend: Backend) -> None:
    """S07: a missing table fails the lookup, not the connection."""
    passdb = backend.passdb()
    backend.execute("DROP TABLE proxy")
    with pytest.raises(LookupFailure, match=r"^Password query failed: .*proxy"):
        passdb.lookup({"u": "john"})
    backend.seed()
    assert host_of(passdb.lookup({"u": "john"})) == "192.168.0.1"


def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    """S07: an open connection does not go on reading the file that was there before."""
    file = SqliteFile(tmp_path / "mail.sqlite")
    backend = Backend("sqlite", file)
    backend.seed()
    passdb = backend.passdb()
    assert host_of(passdb.lookup({"u": "john"})) == "192.168.0.1"
    other = Backend("sqlite", SqliteFile(tmp_path / "new.sqlite"))
    other.seed()
    other.execute("UPDATE proxy SET host = '10.1.1.1'")
    (tmp_path / "new.sqlite").rename(file.path)
    assert host_of(passdb.lookup({"u": "john"})) == "10.1.1.1"
    backend.close()


def test_a_locked_file(tmp_path: Path) -> None:
    """S07: waits for the busy timeout, then fails, then works."""
    file = SqliteFile(tmp_path / "mail.sqlite")
    backend = Backend("sqlite", file)
    backend.seed()
    passdb = backend.passdb()
    with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(LookupFailure, match="Password query failed: database is locked"):
            passdb.lookup({"u": "john"})
        assert 0.9 < time.monotonic() - began < 5
        holder.execute("ROLLBACK")
    assert host_of(passdb.lookup({"u": "john"})) == "192.168.0.1"
    backend.close()


def fill_pool(passdb: SqlPassdb | Looped, threads_count: int = 6) -> None:
    """Look up from several threads at once, so that the pool holds several connections."""
    barrier = threading.Barrier(threads_count)

    def look() -> None:
        barrier.wait()
        for _ in range(20):
            passdb.lookup({"u": "john"})

    threads = [threading.Thread(target=look) for _ in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def until_asked(passdb: SqlPassdb | Looped) -> None:
    """Look up until the server is asked; that takes the query timeout of 1 s, or that of a connect."""
    ends_at = time.monotonic() + 20
    while True:
        assert time.monotonic() < ends_at
        began = time.monotonic()
        with pytest.raises(LookupFailure) as caught:
            passdb.lookup({"u": "john"})
        if "Not connected" not in str(caught.value):
            assert 0.9 < time.monotonic() - began < sql_engine.CONNECT_S + 3
            return
        time.sleep(0.05)


@NETWORK
def test_a_server_that_hangs(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """S07: the lookup ends within the query timeout, the next ones at once; then it recovers."""
    for module in (sql_engine, sql_hosts, pgsql_connection, pgsql_lanes):
        monkeypatch.setattr(module, "QUERY_S", 1.0)
    server = backend.server
    assert isinstance(server, Server)
    passdb = backend.passdb()
    fill_pool(passdb)
    with server.frozen():
        for _ in range(2):
            until_asked(passdb)
            began = time.monotonic()
            with pytest.raises(LookupFailure, match="Not connected to database"):
                passdb.lookup({"u": "john"})
            assert time.monotonic() - began < 0.5
    waits = [line.split(" - ")[1] for level, line in backend.lines if level is Level.ERROR]
    assert waits == ["waiting for 1 seconds before retry", "waiting for 5 seconds before retry"]
    assert host_of(until(lambda: passdb.lookup({"u": "john"}))) == "192.168.0.1"


def test_threads_get_their_own_rows(backend: Backend) -> None:
    """S08: connections are never used by two threads at once."""
    for number in range(40):
        backend.insert(f"u{number}", f"10.0.0.{number}")
    passdb = backend.passdb()
    wrong: list[str] = []

    def look(offset: int) -> None:
        for turn in range(100):
            number = (turn + offset) % 40
            if host_of(passdb.lookup({"u": f"u{number}"})) != f"10.0.0.{number}":
                wrong.append(f"u{number}")

    threads = [threading.Thread(target=look, args=(offset,)) for offset in range(0, 40, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@NETWORK
def test_killed_connections_are_not_noticed(backend: Backend) -> None:
    """S07: a lost connection costs a second try, also when the whole pool is dead."""
    passdb = backend.passdb()
    fill_pool(passdb)
    if backend.driver == "mysql":
        ids = backend.execute("SELECT id FROM information_schema.processlist WHERE user = 'dovecot'")
        for (number,) in ids:
            backend.execute(f"KILL {number}")
    else:
        backend.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mailproxy'"
        )
    for _ in range(10):
        assert host_of(passdb.lookup({"u": "john"})) == "192.168.0.1"
    assert [line for line in backend.lines if line[0] is not Level.INFO] == []


@NETWORK
def test_a_wrong_database_password_stays_secret(backend: Backend) -> None:
    """S09: neither the log nor the failure holds it; one line for each time of waiting."""
    connect = backend.server.connect_string.replace("secret", "Tr0ub4dor")
    passdb = backend.passdb(connect=connect)
    for _ in range(10):
        with pytest.raises(LookupFailure) as caught:
            passdb.lookup({"u": "john"})
        assert "Tr0ub4dor" not in str(caught.value)
    ((level, line),) = backend.lines
    assert level is Level.ERROR
    assert line.startswith(f"{backend.driver}: Connect failed to ")
    assert line.endswith(" - waiting for 1 seconds before retry")
    assert "Tr0ub4dor" not in line


def test_a_typed_password_in_a_query_stays_secret(backend: Backend) -> None:
    passdb = backend.passdb("SELECT nothing FROM missing WHERE a = '%w' AND u = '%u'")
    with pytest.raises(LookupFailure) as caught:
        passdb.lookup({"u": "john", "w": "hunter2"})
    assert "hunter2" not in str(caught.value)


@NETWORK
def test_failover_to_the_next_host(backend: Backend) -> None:
    """S07: a dead host is skipped within the same lookup, and left alone for a while."""
    server = backend.server
    assert isinstance(server, Server)
    connect = "host=127.0.0.2 " + server.connect_string
    passdb = backend.passdb(connect=connect)
    for _ in range(10):
        assert host_of(passdb.lookup({"u": "john"})) == "192.168.0.1"
    driver = backend.driver
    assert (Level.INFO, f"{driver}: Connected to 127.0.0.1 (mail)") in backend.lines
    ((_, line),) = [line for line in backend.lines if line[0] is Level.ERROR]
    assert line.startswith(f"{driver}: Connect failed to 127.0.0.2 (mail): ")
    assert line.endswith(" - waiting for 1 seconds before retry")


@pytest.mark.parametrize(("kind", "in_loop"), [(MariaDb, False), (PostgreSql, False), (PostgreSql, True)])
def test_two_hosts_die_and_come_back(
    kind: type[Server], in_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S07: no lookup fails while one of two hosts lives, whether the other is gone or hangs."""
    if kind.program() is None:
        pytest.skip("not installed")
    for module in (sql_engine, sql_hosts, pgsql_connection, pgsql_lanes):
        monkeypatch.setattr(module, "QUERY_S", 1.0)
    with kind() as first, kind(first.port, "127.0.0.2") as second:
        for number, server in enumerate((first, second), 1):
            server.execute("CREATE TABLE proxy (name varchar(99), host varchar(99))")
            server.execute(f"INSERT INTO proxy VALUES ('john', '10.0.0.{number}')")
        backend = Backend("mysql" if kind is MariaDb else "pgsql", first, in_loop=in_loop)
        passdb = backend.passdb(
            "SELECT NULL AS password, host FROM proxy WHERE name = '%u'",
            f"host=127.0.0.2 {first.connect_string}",
        )

        def hosts() -> set[str]:
            return {host_of(passdb.lookup({"u": "john"})) for _ in range(4)}

        def until_hosts(wanted: set[str]) -> None:
            ends_at = time.monotonic() + 30
            while (seen := hosts()) != wanted:
                assert time.monotonic() < ends_at, seen
                time.sleep(0.05)

        assert hosts() == {"10.0.0.1", "10.0.0.2"}
        first.stop()
        assert hosts() == {"10.0.0.2"}
        first.start()
        until_hosts({"10.0.0.1", "10.0.0.2"})
        with second.frozen():
            until_hosts({"10.0.0.1"})
        until_hosts({"10.0.0.1", "10.0.0.2"})
        first.stop()
        second.stop()
        with pytest.raises(LookupFailure):
            hosts()
        second.start()
        until(lambda: until_hosts({"10.0.0.2"}))
        backend.close()


def test_a_lookup_gives_up_before_auth_does() -> None:
    """S07: the last attempt of a lookup ends within the time that auth gives a database."""
    assert 2 * sql_engine.QUERY_S + sql_engine.CONNECT_S + 2 * sql_engine.QUERY_S < LOOKUP_S
