"""The document's second way: the proxy knows the passwords and uses a master password at the backend."""

from __future__ import annotations

import imaplib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import mail_client
from tests.harness.dovecot import DovecotBackend
from tests.harness.folder import open_folder
from tests.harness.proxy import Proxy
from tests.integration import document
from tests.integration.document import JOHN

# What john types at the proxy; his server knows another password, or none.
PASSWORD = "John-At-Proxy-5T"
MECHANISMS = "plain login cram-md5 digest-md5 apop"


@pytest.fixture(scope="module")
def passwords() -> Iterator[Path]:
    """A table with passwords for the proxy itself."""
    with open_folder("master") as folder:
        path = folder / "users.sqlite"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE proxy (user text, password text, host text)")
            database.execute("INSERT INTO proxy VALUES (?, ?, ?)", (JOHN, "{PLAIN}" + PASSWORD, ""))
        database.close()
        yield path


@pytest.fixture(scope="module", params=[False, True], ids=["shared", "per-connection"])
def master(request: pytest.FixtureRequest, passwords: Path, one: DovecotBackend) -> Iterator[Proxy]:
    """A proxy that logs in as `john*proxy` with the master's password."""
    query = (
        f"SELECT password, '{one.host}' AS host, '%u*proxy' AS destuser,"
        f" '{one.master_password}' AS pass, 'Y' AS proxy,"
        f" CASE '%s' WHEN 'imap' THEN {one.imap_port} ELSE {one.pop3_port} END AS port"
        " FROM proxy WHERE user = '%u'"
    )
    with Proxy([PASSWORD, one.master_password]) as proxy:
        document.configure(
            proxy, "sqlite", str(passwords), query, per_connection=request.param, mechanisms=MECHANISMS
        )
        proxy.start()
        yield proxy


def test_imap_sasl_login(master: Proxy) -> None:
    answers = iter([JOHN.encode(), PASSWORD.encode()])
    client = mail_client.imap(master)
    client.authenticate("LOGIN", lambda _challenge: next(answers))
    assert client.select() == ("OK", [b"3"])
    client.logout()


def test_pop3_user_and_pass(master: Proxy) -> None:
    client = mail_client.pop3(master)
    client.user(JOHN)
    client.pass_(PASSWORD)
    assert client.stat()[0] == 3
    client.quit()


def test_pop3_apop(master: Proxy) -> None:
    client = mail_client.pop3(master)
    client.apop(JOHN, PASSWORD)
    assert client.stat()[0] == 3
    client.quit()


def log_in(client: imaplib.IMAP4, mechanism: str, password: str) -> None:
    """Log in as john."""
    if mechanism == "LOGIN":
        client.login(JOHN, password)
    elif mechanism == "CRAM-MD5":
        client.login_cram_md5(JOHN, password)
    else:
        client.authenticate("DIGEST-MD5", lambda c: mail_client.digest_md5(c, JOHN, password, "imap"))


@pytest.mark.parametrize("mechanism", ["LOGIN", "CRAM-MD5", "DIGEST-MD5"])
def test_imap(master: Proxy, mechanism: str) -> None:
    """The proxy itself refuses a wrong password: the backend would take the master's for anybody."""
    client = mail_client.imap(master)
    with pytest.raises(imaplib.IMAP4.error, match=r"AUTHENTICATIONFAILED"):
        log_in(client, mechanism, "not his")
    log_in(client, mechanism, PASSWORD)
    assert client.select() == ("OK", [b"3"])
    client.logout()
