"""The sql passdb and userdb against real SQLite, MariaDB and PostgreSQL: what rows and names mean."""

from __future__ import annotations

import pytest

from mailproxy.auth.database import Row
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.passdb.sql import SqlPassdb
from mailproxy.userdb.sql import SqlUserdb
from tests.harness.databases import MariaDb, PostgreSql
from tests.integration.sql.sql_backend import HOSTILE, SEED_QUERY, Backend, host_of


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
