"""The founding document's example on real servers: its table, its rows, its files, both process modes."""

from __future__ import annotations

import hashlib
import imaplib
import poplib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import mail_client
from tests.harness.databases import Server
from tests.harness.dovecot import SEEDED, DovecotBackend
from tests.harness.proxy import Proxy
from tests.harness.wait import wait_until
from tests.integration import document
from tests.integration.document import JOE, JOE_THERE, JOHN, PASSWORDS

APPEND_BYTES = 20_000_000


@pytest.fixture(scope="module", params=["mysql", "pgsql", "sqlite"])
def database(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Driver and connect string of a database that holds the document's rows."""
    driver: str = request.param
    if driver == "sqlite":
        return driver, str(request.getfixturevalue("sqlite"))
    server: Server = request.getfixturevalue({"mysql": "mariadb", "pgsql": "postgresql"}[driver])
    return driver, server.connect_string


@pytest.fixture(scope="module", params=[False, True], ids=["shared", "per-connection"])
def documented(
    request: pytest.FixtureRequest, database: tuple[str, str], one: DovecotBackend
) -> Iterator[Proxy]:
    """The proxy as the document sets it up."""
    driver, connect = database
    with Proxy(PASSWORDS.values()) as proxy:
        password_query = document.query(driver, one)
        document.configure(proxy, driver, connect, password_query, per_connection=request.param)
        proxy.start()
        yield proxy


@pytest.fixture(params=[JOHN, JOE])
def person(
    request: pytest.FixtureRequest, one: DovecotBackend, two: DovecotBackend
) -> tuple[str, DovecotBackend, str]:
    """A user, his server, and his name there."""
    return (JOHN, one, JOHN) if request.param == JOHN else (JOE, two, JOE_THERE)


Person = tuple[str, DovecotBackend, str]


def imap_login(client: imaplib.IMAP4, mechanism: str, user: str, password: str) -> None:
    """Log in by one of the ways of imaplib."""
    if mechanism == "LOGIN":
        client.login(user, password)
    else:
        client.authenticate("PLAIN", lambda _challenge: mail_client.plain(user, password))


def subjects(client: imaplib.IMAP4) -> set[str]:
    """Return the subjects in the INBOX."""
    assert client.select()[0] == "OK"
    _ok, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    heads = [part[1].decode() for part in data if isinstance(part, tuple)]
    return {re.sub(r"^Subject: |\s+$", "", head) for head in heads}


def seeded(person: Person) -> set[str]:
    """Return the subjects that the person's server was given."""
    _user, backend, there = person
    return {backend.subject(there, number) for number in range(1, SEEDED + 1)}


@pytest.mark.parametrize("mechanism", ["LOGIN", "AUTHENTICATE"])
def test_imap_user_sees_his_own_server(documented: Proxy, person: Person, mechanism: str) -> None:
    user, backend, there = person
    logins_before = backend.logins(there)
    client = mail_client.imap(documented)
    imap_login(client, mechanism, user, PASSWORDS[user])
    assert seeded(person) <= subjects(client)
    client.logout()
    wait_until(f"{backend.name} logs a login of {there}", lambda: backend.logins(there) > logins_before)


@pytest.mark.parametrize("mechanism", ["USER", "AUTH"])
def test_pop3_user_sees_his_own_server(documented: Proxy, person: Person, mechanism: str) -> None:
    user, backend, there = person
    client = mail_client.pop3(documented)
    if mechanism == "USER":
        client.user(user)
        client.pass_(PASSWORDS[user])
    else:
        mail_client.pop3_plain(client, user, PASSWORDS[user])
    count = client.stat()[0]
    mails = [b"\n".join(client.retr(number)[1]).decode() for number in range(1, count + 1)]
    client.quit()
    for number in range(1, SEEDED + 1):
        expected = f"The text of {backend.subject(there, number)}.\n.a line with a dot"
        assert any(expected in mail for mail in mails), (number, mails)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_wrong_password_is_refused_and_connection_lives(
    documented: Proxy, person: Person, protocol: str
) -> None:
    user, _backend, _there = person
    if protocol == "imap":
        client = mail_client.imap(documented)
        with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\] Authentication failed\."):
            client.login(user, "not his")
        client.login(user, PASSWORDS[user])
        client.logout()
    else:
        other = mail_client.pop3(documented)
        other.user(user)
        with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\] Authentication failed\."):
            other.pass_("not his")
        other.user(user)
        other.pass_(PASSWORDS[user])
        other.quit()


def test_unknown_user_is_refused_in_the_same_words(documented: Proxy) -> None:
    client = mail_client.imap(documented)
    with pytest.raises(imaplib.IMAP4.error, match=r"\[AUTHENTICATIONFAILED\] Authentication failed\."):
        client.login("nobody-here", "x")
    client.logout()


def test_append_20_megabytes_and_fetch_them(running: Proxy, person: Person) -> None:
    _round_trip(running, person)


def test_append_20_megabytes_in_a_process_per_connection(
    proxy: Proxy, person: Person, sqlite: Path, one: DovecotBackend
) -> None:
    document.configure(proxy, "sqlite", str(sqlite), document.query("sqlite", one), per_connection=True)
    proxy.start()
    _round_trip(proxy, person)


def _round_trip(proxy: Proxy, person: Person) -> None:
    """Append to a folder of its own, fetch, compare by hash, and remove it."""
    user, _backend, _there = person
    message = mail_client.big_message(APPEND_BYTES)
    client = mail_client.imap(proxy)
    client.login(user, PASSWORDS[user])
    client.create("big")
    try:
        assert client.append("big", "", "", message)[0] == "OK"
        assert client.select("big") == ("OK", [b"1"])
        _ok, data = client.fetch("1", "(BODY.PEEK[])")
        assert isinstance(data[0], tuple)
        assert hashlib.sha256(data[0][1]).digest() == hashlib.sha256(message).digest()
        client.close()
    finally:
        client.delete("big")
        client.logout()


def test_log_tells_who_was_proxied_where(running: Proxy, two: DovecotBackend) -> None:
    client = mail_client.imap(running)
    client.login(JOE, PASSWORDS[JOE])
    client.logout()
    running.wait_log(
        f"proxy({JOE}): started proxying to {two.host}:{two.imap_port}: user=<{JOE}>, method=PLAIN"
    )
    running.wait_log(f"proxy({JOE}): disconnecting 127.0.0.1")
