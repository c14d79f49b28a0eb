"""The sql passdb and userdb against real SQLite, MariaDB and PostgreSQL."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mailproxy.auth.database import Row
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.limits import LOOKUP_S
from mailproxy.config.settings import SqlSettings
from mailproxy.passdb import sql_engine, sql_hosts
from mailproxy.passdb.sql import SqlPassdb
from mailproxy.userdb.sql import SqlUserdb
from tests.harness.databases import MariaDb, PostgreSql, Server

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

    def __init__(self, driver: str, server: SqliteFile | Server) -> None:
        self.driver = driver
        self.server = server
        self.lines: list[tuple[Level, str]] = []
        self._open: list[SqlPassdb | SqlUserdb] = []
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

    def passdb(self, query: str = "", connect: str = "") -> SqlPassdb:
        passdb = SqlPassdb(self.settings(query, connect=connect), lambda *line: self.lines.append(line))
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


@pytest.fixture(params=["sqlite", "mysql", "pgsql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    server: SqliteFile | Server
    if request.param == "sqlite":
        server = SqliteFile(tmp_path / "mail.sqlite")
    else:
        server = request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql")
    backend = Backend(request.param, server)
    backend.seed()
    yield backend
    backend.close()


# SQLite has no hosts.
NETWORK = pytest.mark.parametrize("backend", ["mysql", "pgsql"], indirect=True)


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


def test_the_table_and_query_of_the_document(backend: Backend) -> None:
    """S06: the seed's own table; PostgreSQL wants its reserved word `user` quoted."""
    passdb = backend.passdb()
    assert passdb.cache_key == ("u",)
    assert passdb.default_scheme == "PLAIN-MD5"
    john = {"host": "192.168.0.1", "destuser": "", "proxy": "Y"}
    assert passdb.lookup({"u": "john"}) == Row(None, john)
    joe = {"host": "192.168.0.2", "destuser": "joe@example.com", "proxy": "Y"}
    assert passdb.lookup({"u": "joe"}) == Row(None, joe)
    assert passdb.lookup({"u": "jack"}) is None
    assert passdb.lookup({}) is None


def test_unquoted_user_of_postgresql_is_the_database_user(postgresql: PostgreSql) -> None:
    """An unquoted `user` compares the login with the account of the connection: nobody is found."""
    backend = Backend("pgsql", postgresql)
    backend.seed()
    passdb = backend.passdb(SEED_QUERY.format(user="user"))
    try:
        assert passdb.lookup({"u": "john"}) is None
        with pytest.raises(LookupFailure, match="multiple matches"):
            passdb.lookup({"u": postgresql.user})
    finally:
        backend.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_data(backend: Backend, name: str) -> None:
    """S01, S02: no name becomes part of the query; each finds its own row and nobody else's."""
    passdb = backend.passdb()
    assert passdb.lookup({"u": name}) is None
    backend.insert(name, "10.0.0.7")
    assert host_of(passdb.lookup({"u": name})) == "10.0.0.7"
    assert backend.execute("SELECT count(*) FROM proxy") == [(3,)]


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ANSI_QUOTES"])
def test_names_are_data_in_other_modes_of_mysql(mariadb: MariaDb, mode: str) -> None:
    """S01, S02: quoting follows the mode of the connection."""
    backend = Backend("mysql", mariadb)
    backend.seed()
    ((before,),) = mariadb.execute("SELECT @@GLOBAL.sql_mode")
    mariadb.execute(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        passdb = backend.passdb(SEED_QUERY.format(user="user").replace("'%u'", '"%u"'))
        for name in HOSTILE:
            assert passdb.lookup({"u": name}) is None
            backend.insert(name, "10.0.0.7")
            assert host_of(passdb.lookup({"u": name})) == "10.0.0.7"
    finally:
        mariadb.execute(f"SET GLOBAL sql_mode = '{before}'")
        backend.close()


@pytest.mark.parametrize("name", ["jo\0hn", "\0john", "john\0", "john\udcff", "\udcbf' OR 1=1"])
def test_names_that_no_database_holds(backend: Backend, name: str) -> None:
    """S02, S03: a NUL or an invalid multibyte sequence is an unknown user."""
    assert backend.passdb().lookup({"u": name}) is None


@pytest.mark.parametrize("name", ["%", "_", "joh_", "j%", "____"])
def test_wildcards_match_nobody(backend: Backend, name: str) -> None:
    """S04: with `=`, and with a LIKE as well."""
    assert backend.passdb().lookup({"u": name}) is None
    like = backend.passdb(f"SELECT NULL AS password, host FROM proxy WHERE {backend.user} LIKE '%u'")
    assert like.lookup({"u": name}) is None
    assert host_of(like.lookup({"u": "john"})) == "192.168.0.1"
    backend.insert(name, "10.0.0.8")
    assert host_of(like.lookup({"u": name})) == "10.0.0.8"


def test_two_rows(backend: Backend) -> None:
    """S05: never the first one."""
    passdb = backend.passdb("SELECT NULL AS password, host FROM proxy WHERE host LIKE '192.168.%%'")
    with pytest.raises(LookupFailure, match=r"^Password query returned multiple matches$"):
        passdb.lookup({"u": "john"})
    assert passdb.cache_key == ("u",)


def test_values_and_names_of_columns(backend: Backend) -> None:
    """S06: NULL is not set, numbers are text, capitals mean the field they spell."""
    passdb = backend.passdb(
        "SELECT 'x' AS PASSWORD, NULL AS host, '' AS destuser, 143 AS Port, 1.5 AS ratio, 'Y' AS PROXY"
        f" FROM proxy WHERE {backend.user} = '%u'"
    )
    fields = {"destuser": "", "port": "143", "ratio": "1.5", "proxy": "Y"}
    assert passdb.lookup({"u": "john"}) == Row(b"x", fields)


def test_three_kinds_of_password(backend: Backend) -> None:
    """A22: NULL, the empty string and a missing column differ."""
    where = f"FROM proxy WHERE {backend.user} = '%u'"
    null = backend.passdb(f"SELECT NULL AS password {where}").lookup({"u": "john"})
    empty = backend.passdb(f"SELECT '' AS password {where}").lookup({"u": "john"})
    assert null == Row(None, {})
    assert empty == Row(b"", {})
    with pytest.raises(LookupFailure, match="Password query must return a field named 'password'"):
        backend.passdb(f"SELECT host {where}").lookup({"u": "john"})
    with pytest.raises(LookupFailure, match="Multiple password values not supported"):
        backend.passdb(f"SELECT 'a' AS password, 'b' AS password {where}").lookup({"u": "john"})


def test_variables_inside_literals(backend: Backend) -> None:
    """S10: concatenation, a percent sign, a modifier, a longer literal, a cast, a comment."""
    passdb = backend.passdb(
        "SELECT NULL AS password, '%u*proxy' AS destuser, '100%% :a ? %%s' AS note, 7 %% 4 AS rest,"
        " '%Un' AS upper_name, '%n''s' AS owner /* isn't %u */"
        f" FROM proxy WHERE {backend.user} = '%n' AND '%n@%d' = 'john@example.com' -- isn't %w"
    )
    row = passdb.lookup({"u": "john@example.com", "n": "john", "d": "example.com"})
    assert row is not None
    assert row.fields == {
        "destuser": "john@example.com*proxy",
        "note": "100% :a ? %s",
        "rest": "3",
        "upper_name": "JOHN",
        "owner": "john's",
    }
    assert passdb.cache_key == ("u", "n", "d")


def test_names_beyond_ascii(backend: Backend) -> None:
    name = "j\u00f6hn\U0001f4e7"
    backend.insert(name, "10.0.0.9")
    assert host_of(backend.passdb().lookup({"u": name})) == "10.0.0.9"


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


def fill_pool(passdb: SqlPassdb, threads_count: int = 6) -> None:
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


def until_asked(passdb: SqlPassdb) -> None:
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
    for module in (sql_engine, sql_hosts):
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


@pytest.mark.parametrize("kind", [MariaDb, PostgreSql])
def test_two_hosts_die_and_come_back(kind: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """S07: no lookup fails while one of two hosts lives, whether the other is gone or hangs."""
    if kind.program() is None:
        pytest.skip("not installed")
    for module in (sql_engine, sql_hosts):
        monkeypatch.setattr(module, "QUERY_S", 1.0)
    with kind() as first, kind(first.port, "127.0.0.2") as second:
        for number, server in enumerate((first, second), 1):
            server.execute("CREATE TABLE proxy (name varchar(99), host varchar(99))")
            server.execute(f"INSERT INTO proxy VALUES ('john', '10.0.0.{number}')")
        backend = Backend("mysql" if kind is MariaDb else "pgsql", first)
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


def test_unix_socket_of_mysql(mariadb: MariaDb) -> None:
    backend = Backend("mysql", mariadb)
    backend.seed()
    passdb = backend.passdb(connect=f"host={mariadb.socket} dbname=mail user=dovecot password=secret")
    assert host_of(passdb.lookup({"u": "john"})) == "192.168.0.1"
    assert backend.lines == [(Level.INFO, f"mysql: Connected to {mariadb.socket} (mail)")]
    backend.close()


def test_userdb_shares_the_connections_of_the_passdb(backend: Backend) -> None:
    query = f"SELECT host AS home, 0 AS uid, 'root' AS gid FROM proxy WHERE {backend.user} = '%u'"
    settings = backend.settings(user_query=query)
    passdb = SqlPassdb(settings, lambda *line: backend.lines.append(line))
    userdb = SqlUserdb(settings, lambda *line: backend.lines.append(line))
    assert userdb.lookup({"u": "john"}) == {"home": "192.168.0.1", "uid": "0", "gid": "0"}
    assert userdb.lookup({"u": "jack"}) is None
    assert passdb.lookup({"u": "john"}) is not None
    passdb.close()
    assert userdb.lookup({"u": "john"}) is not None
    userdb.close()
    assert len(backend.lines) <= 1


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 1 AS gid", "User query didn't return uid, or it was NULL"),
        ("SELECT 1 AS uid, NULL AS gid", "User query didn't return gid, or it was NULL"),
        ("SELECT 'no such user' AS uid, 1 AS gid", "User query returned an invalid uid"),
    ],
)
def test_userdb_wants_ids(backend: Backend, query: str, reason: str) -> None:
    with pytest.raises(LookupFailure, match=f"^{reason}$"):
        backend.userdb(query).lookup({"u": "john"})


def test_a_lookup_gives_up_before_auth_does() -> None:
    """S07: the last attempt of a lookup ends within the time that auth gives a database."""
    assert 2 * sql_engine.QUERY_S + sql_engine.CONNECT_S + 2 * sql_engine.QUERY_S < LOOKUP_S
