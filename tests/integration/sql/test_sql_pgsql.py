"""What is PostgreSQL's own: values as text, encodings, and what is no single table."""

from __future__ import annotations

import pytest

from mailproxy.auth.database import Row
from mailproxy.base.errors import LookupFailure
from tests.integration.sql.sql_backend import Backend

PGSQL = pytest.mark.parametrize("backend", ["pgsql", "pgsql-loop"], indirect=True)


@PGSQL
def test_values_of_postgresql_are_as_a_c_client_shows_them(backend: Backend) -> None:
    passdb = backend.passdb(
        "SELECT '\\x6162'::bytea AS password, true AS yes, false AS no, 1::float AS one, 2.50 AS two,"
        " NULL AS none, '{\"a\": 1}'::json AS json, ARRAY[1, 2] AS numbers, '%u' AS name"
    )
    fields = {
        "yes": "t",
        "no": "f",
        "one": "1",
        "two": "2.50",
        "json": '{"a": 1}',
        "numbers": "{1,2}",
        "name": "j",
    }
    assert passdb.lookup({"u": "j"}) == Row(b"\\x6162", fields)


@PGSQL
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "UTF8"])
def test_encodings_of_postgresql(backend: Backend, encoding: str) -> None:
    """The connect string may choose how the server speaks; logins stay UTF-8."""
    name = "j\u00f6hn"
    backend.insert(name, "10.0.0.9")
    query = 'SELECT NULL AS password, host, "user" AS "n\u00e4me" FROM proxy WHERE "user" = \'%u\''
    connect = f"{backend.server.connect_string} client_encoding={encoding}"
    row = backend.passdb(query, connect).lookup({"u": name})
    assert row == Row(None, {"host": "10.0.0.9", "n\u00e4me": name})


@PGSQL
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 'x' AS password; SELECT 'y' AS password", "multiple commands"),
        ("SELECT '%u' AS password; SELECT 'y' AS password", "multiple commands"),
        ("COPY (SELECT 1) TO STDOUT", "none that returns rows"),
        ("COPY proxy FROM STDIN", "none that returns rows"),
        ("/* nothing */", "none that returns rows"),
    ],
)
def test_what_postgresql_does_not_answer_with_one_table(backend: Backend, query: str, reason: str) -> None:
    passdb = backend.passdb(query)
    with pytest.raises(LookupFailure, match=reason):
        passdb.lookup({"u": "john"})


@PGSQL
def test_more_than_a_socket_takes_at_once(backend: Backend) -> None:
    """Query and answer of 32 MiB go both ways while the server only reads, or only sends."""
    name = "j" * (32 << 20)
    row = backend.passdb("SELECT NULL AS password, '%u' AS name").lookup({"u": name})
    is_whole = row == Row(None, {"name": name})
    assert is_whole, "pytest would print both"
