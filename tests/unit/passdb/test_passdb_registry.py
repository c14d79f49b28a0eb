"""The registry of passdb drivers, and the `static` and `sql` drivers opened through it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mailproxy.auth.database import LoopPassdb, Passdb, Row
from mailproxy.base.errors import ConfigError
from mailproxy.base.level import Level
from mailproxy.config.settings import DatabaseSettings, SqlSettings
from mailproxy.passdb import DRIVERS, open_passdb
from mailproxy.passdb.sql import SqlPassdb


def opened(driver: str, args: str) -> Passdb:
    return open_passdb(DatabaseSettings(driver, args, file="dovecot.conf", line=7), log)


def log(level: Level, text: str) -> None:
    raise AssertionError((level, text))


def test_unknown_driver() -> None:
    with pytest.raises(ConfigError) as caught:
        opened("sqll", "")
    assert str(caught.value) == (
        "Error in configuration file dovecot.conf line 7: Unknown passdb driver 'sqll' (the known"
        " ones are passwd-file, sql, static)"
    )
    assert set(DRIVERS) == {"sql", "static", "passwd-file"}


def test_static() -> None:
    passdb = opened("static", "nopassword=y proxy=y host=10.0.0.1 destuser=%n*proxy nodelay")
    fields = {"proxy": "y", "host": "10.0.0.1", "destuser": "john*proxy", "nodelay": ""}
    assert passdb.lookup({"u": "john@a", "n": "john", "d": "a"}) == Row(None, fields)
    assert (passdb.blocking, passdb.cache_key, passdb.default_scheme) == (False, None, "PLAIN")
    passdb.close()


def test_static_password_and_values_are_data() -> None:
    """C14: what a user name holds is not expanded again."""
    passdb = opened("static", "password={PLAIN}%u destuser=%u")
    assert passdb.lookup({"u": "%n\u00e9", "n": "x"}) == Row(
        "{PLAIN}%n\u00e9".encode(), {"destuser": "%n\u00e9"}
    )


@pytest.mark.parametrize(
    ("args", "reason"),
    [("proxy=y", "static passdb: password missing"), ("password=x host=%q", "Unknown variable %q in host")],
)
def test_static_refused(args: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        opened("static", args)


def test_sql_through_its_file(tmp_path: Path) -> None:
    database = tmp_path / "mail.sqlite"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE users (userid TEXT, password TEXT)")
    connection.execute("INSERT INTO users VALUES ('john', '{PLAIN}pw')")
    connection.commit()
    connection.close()
    file = tmp_path / "dovecot-sql.conf"
    file.write_text(f"driver = sqlite\nconnect = {database}\ndefault_pass_scheme = crypt\n")
    passdb = opened("sql", str(file))
    assert passdb.lookup({"u": "john"}) == Row(b"{PLAIN}pw", {})
    assert (passdb.blocking, passdb.cache_key, passdb.default_scheme) == (True, ("u",), "CRYPT")
    passdb.close()
    with pytest.raises(ConfigError, match="Configuration file path not given"):
        opened("sql", "")


@pytest.mark.parametrize(("driver", "in_loop"), [("pgsql", True), ("mysql", False), ("sqlite", False)])
def test_which_databases_are_asked_in_the_loop(tmp_path: Path, driver: str, in_loop: bool) -> None:
    path = tmp_path / "sql.conf"
    path.write_text(
        f"driver = {driver}\nconnect = host=127.0.0.1\npassword_query = SELECT '%u' AS password\n"
    )
    passdb = opened("sql", str(path))
    assert isinstance(passdb, LoopPassdb) is in_loop
    passdb.close()


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("SELECT '%Ln' AS a, '%d' AS b, '%n' AS c", ("n", "d")),
        ("SELECT NULL AS password, '10.0.0.1' AS host", ("u",)),
        ("SELECT NULL AS password, host FROM domains WHERE name = '%d'", ("u", "d")),
    ],
)
def test_no_cache_key_without_the_user(query: str, key: tuple[str, ...]) -> None:
    """A01: also a query that does not ask for the user."""
    settings = SqlSettings("x.conf", "sqlite", "/nonexistent/x", query, "", "PLAIN-MD5")
    assert SqlPassdb(settings, log).cache_key == key


def test_unknown_variable_is_a_start_up_error() -> None:
    """S10."""
    settings = SqlSettings("x.conf", "sqlite", "/nonexistent/x", "SELECT '%z'", "", "PLAIN-MD5")
    with pytest.raises(ConfigError, match=r"^sql: password_query in x.conf: Unknown variable '%z'"):
        SqlPassdb(settings, log)


def test_the_registry_imports_no_driver() -> None:
    """The master and the workers never load SQLAlchemy."""
    code = (
        "import sys, mailproxy.passdb, mailproxy.userdb;"
        "sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'pymysql', 'psycopg', 'sqlite3')))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
