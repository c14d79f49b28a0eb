"""What a `connect` value means, driver by driver; no connection is made."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.config.settings import SqlSettings
from mailproxy.passdb.sql_hosts import targets


def settings(driver: str, connect: str) -> SqlSettings:
    return SqlSettings("dovecot-sql.conf", driver, connect, "", "", "PLAIN-MD5")


def labels(driver: str, connect: str) -> list[str]:
    return [target.label for target in targets(settings(driver, connect))]


@pytest.mark.parametrize(
    ("driver", "connect", "hosts"),
    [
        ("sqlite", "/var/mail with space.db", ["open(/var/mail with space.db) failed"]),
        ("mysql", "host=sqlhost1 host=sqlhost2 dbname=mail", ["sqlhost1 (mail)", "sqlhost2 (mail)"]),
        ("mysql", "hostaddr=10.0.0.1 password=a=b", ["10.0.0.1 ()"]),
        ("mysql", "host=/run/mysqld.sock dbname=m ssl_ca=/ca", ["/run/mysqld.sock (m)"]),
        ("pgsql", "host=db1 dbname=mail user=u password='a b'", ["mail"]),
        ("pgsql", "host=db1 host='db2' dbname=mail password='it\\'s'", ["db1 (mail)", "db2 (mail)"]),
        ("pgsql", "host=db1,db2 dbname=mail", ["mail"]),
        ("pgsql", "postgresql://u:p@db1/mail", ["mail"]),
    ],
)
def test_hosts(driver: str, connect: str, hosts: list[str]) -> None:
    assert labels(driver, connect) == hosts


@pytest.mark.parametrize(
    ("driver", "connect", "text"),
    [
        ("mysql", "dbname=mail", "mysql: No hosts given in connect string"),
        ("mysql", "host=a color=blue", "mysql: Unknown connect string: color"),
        ("mysql", "host=a dbname", "mysql: Missing value in connect string: dbname"),
        ("mysql", "host=a password=my hunter2", "mysql: Missing value in connect string: word 3"),
        ("mysql", "host=a port=hunter2", "mysql: port in connect string is not a number"),
        ("pgsql", "host=a password=my hunter2", "pgsql: connect string is not what libpq takes"),
        ("pgsql", "host=a host=b password=my hunter2", "pgsql: connect string is not what libpq takes"),
        ("pgsql", "host=a hunter2=b", "pgsql: connect string is not what libpq takes"),
    ],
)
def test_refused_without_telling_values(driver: str, connect: str, text: str) -> None:
    """S09: no part of what may be a password is in the error."""
    with pytest.raises(ConfigError) as caught:
        targets(settings(driver, connect))
    assert str(caught.value).startswith(text)
    assert "hunter2" not in str(caught.value)
    assert "dovecot-sql.conf" in str(caught.value)


def test_missing_certificate_authority_is_a_failed_connect(tmp_path: Path) -> None:
    """A file that cannot be read fails the connect, not the start: it may be there later."""
    (target,) = targets(settings("mysql", f"host=127.0.0.1 ssl_ca={tmp_path / 'none.pem'}"))
    with pytest.raises((OSError, ssl.SSLError)):
        target.connect()
