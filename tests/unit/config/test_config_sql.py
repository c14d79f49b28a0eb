from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailproxy.base.errors import ConfigError
from mailproxy.config.settings import SqlSettings
from mailproxy.config.sql import load_sql

DOCUMENT = """\
# Database driver: mysql, pgsql
driver = mysql

# Database connect string.
# Only MySQL driver support multiple hosts for now.
connect = host=sqlhost1 host=sqlhost2 dbname=mail user=dovecot password=secret

# Query
password_query = SELECT NULL AS password, host, destuser, 'Y' AS proxy FROM
proxy WHERE user = '%u'
"""
QUERY = "SELECT NULL AS password, host, destuser, 'Y' AS proxy FROM proxy WHERE user = '%u'"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dovecot-sql.conf"


def faults(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_sql(str(path))
    return [str(problem).replace(str(path), "file") for problem in caught.value.problems]


def read(path: Path, text: str) -> SqlSettings:
    path.write_text(text)
    return load_sql(str(path))


def test_the_wrapped_query_of_the_document_is_one_fault(path: Path) -> None:
    assert faults(path, DOCUMENT) == [
        "Error in configuration file file line 10: Expecting '=': the value of password_query of line 9"
        " seems to be wrapped, a '\\' at the end of that line continues it"
    ]


@pytest.mark.parametrize("ending", ["FROM \\\n", "FROM\\\n", "FROM \\\r\n\t", "FROM "])
def test_the_document_loads_once_its_query_is_mended(path: Path, ending: str) -> None:
    settings = read(path, DOCUMENT.replace("FROM\n", ending))
    assert (settings.driver, settings.password_query) == ("mysql", QUERY)
    assert settings.connect == "host=sqlhost1 host=sqlhost2 dbname=mail user=dovecot password=secret"


def test_defaults(path: Path) -> None:
    settings = read(path, "driver = sqlite\nconnect = /var/mail.db\nsection x {\n  unheard_of = y\n}\n")
    assert settings.password_query == "SELECT password FROM users WHERE userid = '%u'"
    assert settings.user_query == "SELECT home, uid, gid FROM users WHERE userid = '%u'"
    assert settings.default_pass_scheme == "PLAIN-MD5"


def test_what_is_missing_is_told_at_once(path: Path) -> None:
    assert faults(path, "unheard_of = x\ndrivers = sqlite\n") == [
        "Error in configuration file file line 1: Unknown setting: unheard_of",
        "Error in configuration file file line 2: Unknown setting: drivers (did you mean driver?)",
        "sql: driver not set in configuration file file",
        "sql: connect string not set in configuration file file",
    ]


def test_an_unknown_driver_has_its_line(path: Path) -> None:
    assert faults(path, "connect = x\ndriver = oracle\n") == [
        "Error in configuration file file line 2: Unknown database driver 'oracle'"
    ]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_settings_or_problems(path: Path, content: bytes) -> None:
    path.write_bytes(b"driver = mysql\nconnect = x\n" + content)
    try:
        assert load_sql(str(path)).driver
    except ConfigError as error:
        texts = [str(problem) for problem in error.problems]
    else:
        return
    assert texts
    assert all(text.isprintable() for text in texts)


def test_no_path_and_no_file() -> None:
    with pytest.raises(ConfigError, match=r"^sql: Configuration file path not given$"):
        load_sql("")
    with pytest.raises(ConfigError, match=r"^Can't open configuration file /no/x: No such file"):
        load_sql("/no/x")


def test_no_fault_and_no_repr_holds_the_connect_string(path: Path) -> None:
    text = "driver = x\nconnect = host=a password=hunter2\nhunter2 is wrapped\n"
    assert not any("hunter2" in fault for fault in faults(path, text))
    assert "hunter2" not in repr(read(path, "driver = pgsql\nconnect = password=hunter2\n"))
