"""Failover and backoff, on a clock that the test holds; the hosts are SQLite files."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.passdb.sql_engine import Database, Target, cleaned


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class FileHost:
    """A host that is up while its file exists; when `dies`, each query loses its connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connects = 0
        self.dies = False
        self.up()

    def up(self) -> None:
        connection = sqlite3.connect(self.path)
        connection.execute("CREATE TABLE IF NOT EXISTS t (name TEXT)")
        connection.execute("DELETE FROM t")
        connection.execute("INSERT INTO t VALUES (?)", (self.path.name,))
        connection.commit()
        connection.close()

    def down(self) -> None:
        self.path.unlink()

    def connect(self) -> sqlite3.Connection:
        self.connects += 1
        host = self

        class Cursor(sqlite3.Cursor):
            def execute(self, *args: Any) -> Any:
                if host.dies:
                    self.connection.close()
                return super().execute(*args)

        class Connection(sqlite3.Connection):
            def cursor(self, *_args: Any, **_options: Any) -> Any:
                return super().cursor(Cursor)

        return sqlite3.connect(
            f"file:{self.path}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )

    @property
    def target(self) -> Target:
        return Target(
            "sqlite://",
            f"{self.path.name} (mail)",
            self.connect,
            "test: Connect failed to",
            "test: Connected to",
            identity=lambda: self.path.exists(),
        )


class World:
    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.lines: list[tuple[Level, str]] = []
        self.one, self.two = FileHost(directory / "one"), FileHost(directory / "two")
        self.database = Database(
            [self.one.target, self.two.target], lambda *line: self.lines.append(line), self.clock
        )

    def ask(self) -> str:
        return str(self.database.query("SELECT name FROM t WHERE ? = 'x'", ("x",)).rows[0][0])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_hosts_take_turns(world: World) -> None:
    assert [world.ask() for _ in range(4)] == ["one", "two", "one", "two"]
    assert world.lines == [
        (Level.INFO, "test: Connected to one (mail)"),
        (Level.INFO, "test: Connected to two (mail)"),
    ]
    world.database.close()


def test_rows_that_nobody_reads_lock_nothing(world: World) -> None:
    """A connection keeps its cursor for the next query; one with rows left would keep SQLite from writing."""
    writer = sqlite3.connect(world.one.path, timeout=0)
    writer.executemany("INSERT INTO t VALUES (?)", [("more",)] * 3)
    writer.commit()
    for _ in range(4):
        assert world.ask() in ("one", "two")
    writer.execute("DELETE FROM t WHERE name = 'more'")
    writer.commit()
    writer.close()
    assert {world.ask() for _ in range(2)} == {"one", "two"}
    world.database.close()


def test_backoff_grows_to_ten_seconds(world: World) -> None:
    """S07: 1, 5, 10, 10 seconds; meanwhile the host is left alone and the other one answers."""
    world.one.down()
    for wait_s in (1, 5, 10, 10):
        world.lines.clear()
        before = world.one.connects
        assert {world.ask() for _ in range(6)} == {"two"}
        assert world.one.connects == before + 1
        ((level, line),) = [entry for entry in world.lines if entry[0] is Level.ERROR]
        assert line == (
            "test: Connect failed to one (mail): unable to open database file"
            f" - waiting for {wait_s} seconds before retry"
        )
        assert level is Level.ERROR
        world.clock.now += wait_s - 0.1
        assert {world.ask() for _ in range(6)} == {"two"}
        assert world.one.connects == before + 1
        world.clock.now += 0.1
    world.one.up()
    assert {world.ask() for _ in range(2)} == {"one", "two"}
    world.one.down()
    assert {world.ask() for _ in range(2)} == {"two"}
    assert world.lines[-1][1].endswith("waiting for 1 seconds before retry")
    world.database.close()


def test_a_host_that_dies_of_every_query(world: World) -> None:
    """S07: that it takes connections does not make it come up again: its backoff grows as well."""
    assert {world.ask() for _ in range(2)} == {"one", "two"}
    world.one.dies = True
    for wait_s in (1, 5, 10):
        before = world.one.connects
        assert {world.ask() for _ in range(4)} == {"two"}
        assert world.one.connects == before + 1
        assert world.lines[-1][1].endswith(f"- waiting for {wait_s} seconds before retry")
        world.clock.now += wait_s
    world.one.dies = False
    assert {world.ask() for _ in range(2)} == {"one", "two"}
    world.database.close()


def test_no_host(world: World) -> None:
    world.one.down()
    world.two.down()
    with pytest.raises(LookupFailure, match="unable to open"):
        world.ask()
    with pytest.raises(LookupFailure, match=r"^Not connected to database$"):
        world.ask()
    world.two.up()
    world.clock.now += 1
    assert world.ask() == "two"
    world.database.close()


def test_a_wrong_query_is_no_reason_to_fail_over(world: World) -> None:
    with pytest.raises(LookupFailure, match="no such table"):
        world.database.query("SELECT * FROM missing", ())
    assert world.two.connects == 0
    world.database.close()


def test_only_one_attempt_for_a_host_that_is_down(world: World) -> None:
    """While one thread tries a host that was down, the others do not queue behind it."""
    world.one.down()
    world.ask()
    world.clock.now += 1
    host = world.database.hosts[0]
    assert host.claim() == 1
    assert host.claim() is None
    world.database.close()


def test_cleaned() -> None:
    assert cleaned(RuntimeError("a\n\tb \x1b[1m")) == "a b \\x1b[1m"
    assert cleaned(RuntimeError(1045, "Access denied")) == "Access denied"
    assert cleaned(RuntimeError()) == "RuntimeError"
    assert len(cleaned(RuntimeError("x" * 5000))) <= 300
