"""A database goes away and comes back while users log in; nothing needs a restart."""

from __future__ import annotations

import imaplib
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness import mail_client
from tests.harness.databases import MariaDb, PostgreSql, Server
from tests.harness.dovecot import DovecotBackend
from tests.harness.ports import free_port
from tests.harness.proxy import Proxy
from tests.harness.wait import wait_until
from tests.integration import document
from tests.integration.document import JOHN, PASSWORDS

COME_BACK_S = 30.0
SECOND_HOST = "127.0.0.2"
OK, UNAVAILABLE = "OK", "[UNAVAILABLE] Temporary authentication failure."


SERVERS: dict[str, type[Server]] = {"mysql": MariaDb, "pgsql": PostgreSql}


def names(prefix: str, count: int) -> list[str]:
    """Return users that nobody has logged in as yet."""
    return [f"{prefix}{number}" for number in range(count)]


def add_users(server: Server, one: DovecotBackend, users: list[str]) -> None:
    """Make all of them John at the backend, so that his password is theirs."""
    for user in users:
        server.execute(f"INSERT INTO proxy VALUES ('{user}', '{one.host}', '{JOHN}')")


def try_login(proxy: Proxy, user: str) -> str:
    """Log in once, as a new connection; returns OK or the server's words."""
    client = mail_client.imap(proxy)
    try:
        client.login(user, PASSWORDS[JOHN])
        return OK
    except imaplib.IMAP4.error as error:
        return str(error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0])
    finally:
        mail_client.leave(client)


@pytest.fixture(scope="module", params=["mysql", "pgsql"])
def pair(
    request: pytest.FixtureRequest, one: DovecotBackend, two: DovecotBackend
) -> Iterator[tuple[str, Server, Server]]:
    """A driver and two of its servers, on two addresses with the same port and the same rows."""
    server_type = SERVERS[request.param]
    users = names("before", 60) + names("during", 5) + names("first", 60) + names("second", 60)
    with server_type(free_port()) as first, server_type(first.port, SECOND_HOST) as second:
        for server in (first, second):
            document.fill(server, request.param, one, two)
            add_users(server, one, users)
        yield request.param, first, second


Pair = tuple[str, Server, Server]


def test_cached_users_go_on_and_others_wait(proxy: Proxy, pair: Pair, one: DovecotBackend) -> None:
    driver, server, _second = pair
    document.configure(proxy, driver, server.connect_string, document.query(driver, one))
    proxy.start()
    assert try_login(proxy, JOHN) == OK
    server.stop()
    try:
        assert try_login(proxy, JOHN) == OK
        client = mail_client.imap(proxy)
        for _ in range(2):
            with pytest.raises(
                imaplib.IMAP4.error, match=r"\[UNAVAILABLE\] Temporary authentication failure\."
            ):
                client.login("during0", PASSWORDS[JOHN])
    finally:
        server.start()
    wait_until("the database is used again", lambda: try_login(proxy, "during1") == OK, COME_BACK_S)
    # The connection that was refused during the outage is as good as any.
    client.login("during0", PASSWORDS[JOHN])
    client.logout()
    assert len(proxy.children("auth")) == 1


def test_logins_that_run_meanwhile_succeed_or_are_told_to_wait(
    proxy: Proxy, pair: Pair, one: DovecotBackend
) -> None:
    driver, server, _second = pair
    document.configure(
        proxy, driver, server.connect_string, document.query(driver, one), more="auth_cache_size = 0\n"
    )
    proxy.start()
    answers: Counter[str] = Counter()
    over = threading.Event()

    def keep_logging_in() -> None:
        while not over.is_set():
            answer = try_login(proxy, JOHN)
            answers[UNAVAILABLE if UNAVAILABLE in answer else answer] += 1

    clients = [threading.Thread(target=keep_logging_in) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        wait_until("logins run", lambda: answers[OK] >= 10)
        server.stop()
        wait_until("somebody is told to wait", lambda: answers[UNAVAILABLE] >= 3, COME_BACK_S)
        server.start()
        good = answers[OK]
        wait_until("logins run again", lambda: answers[OK] >= good + 10, COME_BACK_S)
    finally:
        over.set()
        for client in clients:
            client.join()
    assert set(answers) == {OK, UNAVAILABLE}, answers


def test_second_host_takes_over_and_first_comes_back(proxy: Proxy, pair: Pair, one: DovecotBackend) -> None:
    driver, first, second = pair
    connect = first.connect_string.replace("host=127.0.0.1", f"host=127.0.0.1 host={SECOND_HOST}")
    document.configure(proxy, driver, connect, document.query(driver, one))
    proxy.start()
    before, at_second, at_first = (iter(names(name, 60)) for name in ("before", "second", "first"))
    assert try_login(proxy, next(before)) == OK
    first.stop()
    try:
        wait_until("the second takes over", lambda: try_login(proxy, next(at_second)) == OK, COME_BACK_S)
        assert [try_login(proxy, next(at_second)) for _ in range(5)] == [OK] * 5
    finally:
        first.start()
    second.stop()
    try:
        wait_until("the first is used again", lambda: try_login(proxy, next(at_first)) == OK, COME_BACK_S)
    finally:
        second.start()
