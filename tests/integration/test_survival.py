"""Each kind of process is killed: it comes back, and what others carry goes on."""

from __future__ import annotations

import imaplib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import mail_client
from tests.harness.dovecot import DovecotBackend
from tests.harness.proxy import HOST, Proxy
from tests.harness.wait import wait_until
from tests.integration import document
from tests.integration.document import JOHN, PASSWORDS

SESSIONS = 12


class Relays:
    """Sessions that are logged in, each with the worker that carries it."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.clients: list[imaplib.IMAP4] = []
        # A worker that is quick may take one after another.
        while len(self.clients) < SESSIONS or (self._is_with_one() and len(self.clients) < 5 * SESSIONS):
            client = mail_client.imap(proxy)
            self.clients.append(client)
            client.login(JOHN, PASSWORDS[JOHN])

    def _is_with_one(self) -> bool:
        return len({self.worker_of(client) for client in self.clients}) == 1

    def worker_of(self, client: imaplib.IMAP4) -> int:
        """Return the pid of the worker at the other end."""
        port = client.socket().getsockname()[1]
        for worker in self._proxy.children("imap-login"):
            if any(c.raddr and c.raddr.port == port for c in worker.net_connections("tcp")):
                return worker.pid
        raise AssertionError(f"no worker carries the session from port {port}")

    def close(self) -> None:
        """Log out wherever somebody is still there."""
        for client in self.clients:
            mail_client.leave(client)


def is_alive(client: imaplib.IMAP4) -> bool:
    """Tell whether the session still answers."""
    try:
        return bool(client.noop()[0] == "OK")
    except (imaplib.IMAP4.error, OSError):
        return False


def can_log_in(proxy: Proxy) -> bool:
    """Tell whether a new session works."""
    try:
        client = mail_client.imap(proxy)
    except (imaplib.IMAP4.error, OSError):
        return False
    try:
        client.login(JOHN, PASSWORDS[JOHN])
        client.logout()
    except (imaplib.IMAP4.error, OSError):
        client.shutdown()
        return False
    return True


@pytest.fixture(params=[False, True], ids=["shared", "per-connection"])
def survivor(request: pytest.FixtureRequest, proxy: Proxy, sqlite: Path, one: DovecotBackend) -> Proxy:
    """A running proxy with two workers, or two spare ones, for each protocol."""
    document.configure(
        proxy,
        "sqlite",
        str(sqlite),
        document.query("sqlite", one),
        per_connection=request.param,
        more="login_processes_count = 2\n",
    )
    proxy.start()
    return proxy


@pytest.fixture
def relays(survivor: Proxy) -> Iterator[Relays]:
    """Sessions of John."""
    sessions = Relays(survivor)
    yield sessions
    sessions.close()


def test_killed_worker_takes_only_its_own_sessions(survivor: Proxy, relays: Relays) -> None:
    carriers = {client: relays.worker_of(client) for client in relays.clients}
    victim = carriers[relays.clients[0]]
    psutil.Process(victim).kill()
    lost = [client for client, worker in carriers.items() if worker == victim]
    kept = [client for client, worker in carriers.items() if worker != victim]
    assert kept, "one worker carried everything, so this test shows nothing"
    assert [is_alive(client) for client in kept] == [True] * len(kept)
    assert [is_alive(client) for client in lost] == [False] * len(lost)
    survivor.wait_log(f"child {victim} (login) killed with signal 9")
    wait_until("a new login works", lambda: can_log_in(survivor))
    wait_until("there are two workers", lambda: len(survivor.children("imap-login")) >= 2)
    assert victim not in {worker.pid for worker in survivor.children("imap-login")}


def test_killed_auth_comes_back(survivor: Proxy, relays: Relays) -> None:
    killed = survivor.kill("auth")
    assert [is_alive(client) for client in relays.clients] == [True] * len(relays.clients)
    wait_until("a new auth process", lambda: len(survivor.children("auth")) == 1)
    wait_until("a new login works", lambda: can_log_in(survivor))
    assert survivor.children("auth")[0].pid != killed
    assert [is_alive(client) for client in relays.clients] == [True] * len(relays.clients)


def test_killed_pop3_worker_comes_back(survivor: Proxy, relays: Relays) -> None:
    survivor.kill("pop3-login")
    wait_until("two workers again", lambda: len(survivor.children("pop3-login")) >= 2)
    client = mail_client.pop3(survivor)
    client.user(JOHN)
    client.pass_(PASSWORDS[JOHN])
    client.quit()
    assert [is_alive(client) for client in relays.clients] == [True] * len(relays.clients)


def test_killed_master_leaves_relays_and_a_new_one_starts(survivor: Proxy, relays: Relays) -> None:
    survivor.stop(signal.SIGKILL)

    def is_refused() -> bool:
        with socket.socket() as client:
            return client.connect_ex((HOST, survivor.imap_port)) != 0

    wait_until("nobody accepts", is_refused)
    assert [is_alive(client) for client in relays.clients] == [True] * len(relays.clients)
    survivor.start()
    assert can_log_in(survivor)
    assert [is_alive(client) for client in relays.clients] == [True] * len(relays.clients)
    relays.close()
    wait_until("the old workers are gone", lambda: not _strangers(survivor))


def _strangers(proxy: Proxy) -> list[psutil.Process]:
    """Return processes that are not the present master's children."""
    family = {proxy.pid, *(child.pid for child in psutil.Process(proxy.pid).children(recursive=True))}
    return [process for process in proxy.processes() if process.pid not in family]


def test_reload_keeps_relays(survivor: Proxy, relays: Relays) -> None:
    survivor.configuration.write_text(survivor.configuration.read_text() + "login_greeting = Read anew.\n")
    survivor.sighup()

    def greets_anew() -> bool:
        client = mail_client.imap(survivor)
        client.logout()
        return client.welcome is not None and b"Read anew." in client.welcome

    wait_until("the new greeting", greets_anew)
    assert can_log_in(survivor)
    assert [is_alive(client) for client in relays.clients] == [True] * len(relays.clients)


def test_reload_of_a_broken_file_changes_nothing(survivor: Proxy, relays: Relays) -> None:
    survivor.configuration.write_text("no_such_setting = 1\n")
    survivor.sighup()
    survivor.wait_log("Invalid configuration, keeping old one")
    assert can_log_in(survivor)
    assert [is_alive(client) for client in relays.clients] == [True] * len(relays.clients)
