"""Certificates that are replaced while clients come and go, and tickets from one worker to the next."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.harness.arena import Arena
from tests.harness.ports import free_port
from tests.harness.proxy import HOST
from tests.harness.tls import Authority, Pair
from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.process.look import echoes, guest, pids, run_ctl

NAME = "mail.example.org"
# Looks at the files all the time.
HASTY = (
    "import sys; from mailproxy import cli; from mailproxy.process import certificate_watch as watch;"
    " watch._WATCH_S = 0.1;"
    " sys.exit(cli.main())"
)


class TlsArena(Arena):
    """An arena with a TLS port for IMAP and a pair of its own."""

    def __init__(self, *settings: str) -> None:
        self.port = free_port()
        self.folder_settings = "\n".join(settings)
        super().__init__()
        self.authority = Authority(self.proxy.folder)
        self.pair = self.authority.issue(NAME)
        text = self.proxy.configuration.read_text().replace(
            "protocols = imap pop3", "protocols = imap imaps pop3"
        )
        text = text.replace("ssl_disable = yes", f"ssl_listen = {HOST}:{self.port}\n{self.pair.settings()}")
        self.proxy.configuration.write_text(
            text.replace("auth default {", f"{self.folder_settings}\nauth default {{")
        )

    def connect(
        self, session: ssl.SSLSession | None = None, context: ssl.SSLContext | None = None, name: str = NAME
    ) -> ssl.SSLSocket:
        """Connect, shake hands and take the greeting."""
        plain = socket.create_connection((HOST, self.port), 10)
        try:
            found = (context or self.context()).wrap_socket(plain, server_hostname=name, session=session)
        except BaseException:
            plain.close()
            raise
        assert found.recv(500).startswith(b"* OK ")
        return found

    def context(self) -> ssl.SSLContext:
        """Return a client that trusts nobody but our authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority.ca)
        return context

    def serial(self) -> int:
        """Return the number of the certificate that a new client is shown."""
        with self.connect() as client:
            shown = client.getpeercert()
            assert shown is not None
            return int(str(shown["serialNumber"]), 16)

    def shows(self, pair: Pair) -> Callable[[], bool]:
        """Return the question whether a new client is shown that pair."""
        return lambda: self.serial() == pair.certificate.serial_number


NewArena = Callable[..., TlsArena]


@pytest.fixture
def new_arena() -> Iterator[NewArena]:
    """Start an arena with settings in lines; it is closed and checked at the end."""
    with contextlib.ExitStack() as stack:

        def start(*settings: str, hasty: bool = False) -> TlsArena:
            arena = TlsArena(*settings)
            if hasty:
                arena.proxy.program = ["-c", HASTY]
            return stack.enter_context(arena)

        yield start


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_by_another_worker(new_arena: NewArena, version: ssl.TLSVersion) -> None:
    """Each connection has its own process here."""
    arena = new_arena(MODES["own"], "login_processes_count = 2")
    context = arena.context()
    context.maximum_version = version
    with arena.connect(context=context) as first:
        session = first.session
        with arena.connect(session, context) as second:
            assert second.session_reused
        assert session is not None


@pytest.mark.parametrize("mode", list(MODES))
def test_files_that_change_are_taken_without_a_signal(new_arena: NewArena, mode: str) -> None:
    """T12: only workers are renewed; sessions, auth and listeners stay."""
    arena = new_arena(MODES[mode], "login_processes_count = 2", hasty=True)
    assert arena.shows(arena.pair)()
    auth, workers = pids(arena, "auth"), pids(arena, "imap-login")
    with guest(arena) as session, arena.connect() as waiting:
        other = arena.authority.issue(NAME, file="other")
        arena.pair.replace_with(other)
        wait_until("a new client is shown the new certificate", arena.shows(other))
        arena.proxy.wait_log("Certificates have changed, login processes take the new ones")
        assert echoes(session)
        waiting.sendall(b"a1 NOOP\r\n")
        assert waiting.recv(500).startswith(b"a1 OK")
    assert pids(arena, "auth") == auth
    wait_until("the workers of before are gone", lambda: not pids(arena, "imap-login") & workers)


def test_who_shows_tls(new_arena: NewArena) -> None:
    """Before the login and after it, asked of the sockets themselves."""
    arena = new_arena(MODES["own"])
    with arena.connect() as client:
        assert " TLSv1.3 " in run_ctl(arena, "who")
        client.sendall(b"a1 LOGIN guest %s\r\n" % arena.GUEST)
        assert client.recv(500).startswith(b"a1 OK ")
        shown = run_ctl(arena, "who", "guest").splitlines()[1].split()
        assert (shown[5], shown[9]) == ("TLSv1.3", "proxy")


def test_sessions_of_a_master_before_an_upgrade_are_seen(new_arena: NewArena) -> None:
    """F12: a session within TLS stays with the old master, and is listed and can be ended."""
    arena = new_arena(MODES["own"])
    with arena.connect() as client, guest(arena) as plain:
        client.sendall(b"a1 LOGIN guest %s\r\n" % arena.GUEST)
        assert client.recv(500).startswith(b"a1 OK ")
        before = arena.proxy.pid
        assert "the new version serves" in run_ctl(arena, "upgrade")
        arena.proxy.follow()
        assert echoes(plain)
        shown = [line.split() for line in run_ctl(arena, "who", "guest").splitlines()[1:]]
        assert sorted(line[5] for line in shown) == ["-", "TLSv1.3"]
        assert f"PID {before}" not in run_ctl(arena, "status")
        assert "the master of before the last upgrade" in run_ctl(arena, "status")
        session = next(line[4] for line in shown if line[5] == "TLSv1.3")
        assert session in run_ctl(arena, "kick", session)
        assert client.recv(500) == b""
        assert echoes(plain)
        wait_until("the old master has left", lambda: "last upgrade" not in run_ctl(arena, "status"))


@pytest.mark.parametrize("how", ["garbage", "mismatch", "missing"])
def test_a_broken_pair_keeps_the_old_one(new_arena: NewArena, how: str) -> None:
    """T12: by itself once, by SIGHUP each time; nobody is disturbed."""
    arena = new_arena(MODES["shared"], hasty=True)
    workers = pids(arena, "imap-login") | pids(arena, "auth")
    good = arena.pair.key.read_bytes()
    if how == "missing":
        arena.pair.key.unlink()
    else:
        foreign = arena.authority.issue(NAME, file="foreign").key.read_bytes()
        arena.pair.key.write_bytes(b"garbage" if how == "garbage" else foreign)
    kept = "Certificates have changed and cannot be used, keeping old ones"
    arena.proxy.wait_log(kept)
    assert arena.shows(arena.pair)()
    arena.proxy.sighup()
    arena.proxy.wait_log("Invalid configuration, keeping old one")
    assert arena.shows(arena.pair)()
    assert pids(arena, "imap-login") | pids(arena, "auth") == workers
    assert arena.proxy.log_text().count(kept) == 1
    assert str(arena.pair.key) in arena.proxy.log_text()
    arena.pair.key.write_bytes(good)
    arena.proxy.wait_log("Certificates have changed, login processes take the new ones")
    assert arena.shows(arena.pair)()


@pytest.mark.parametrize("mode", list(MODES))
def test_no_login_fails_while_certificates_are_replaced(new_arena: NewArena, mode: str) -> None:
    """T12: under load, again and again."""
    arena = new_arena(MODES[mode], "login_processes_count = 4", hasty=True)
    done, failures, logins = threading.Event(), list[str](), [0] * 4

    def log_in(number: int) -> None:
        while not done.is_set():
            try:
                with arena.connect() as client:
                    client.sendall(b"a1 LOGIN guest %s\r\n" % arena.GUEST)
                    reply = client.recv(500)
                    if not reply.startswith(b"a1 OK"):
                        failures.append(f"answer {reply!r}")
            except OSError as error:
                failures.append(repr(error))
            logins[number] += 1

    clients = [threading.Thread(target=log_in, args=(number,)) for number in range(len(logins))]
    for client in clients:
        client.start()
    try:
        for turn in range(4):
            new = arena.authority.issue(NAME, file=f"turn{turn}")
            arena.pair.replace_with(new)
            if turn % 2:
                arena.proxy.sighup()
            wait_until("the new certificate is shown", arena.shows(new))
    finally:
        done.set()
        for client in clients:
            client.join()
    assert failures == []
    assert min(logins) > 10


def test_a_reload_takes_tls_away_and_gives_it_back(new_arena: NewArena) -> None:
    """The port is closed and opened with it."""
    arena = new_arena(MODES["shared"])
    text = arena.proxy.configuration.read_text()
    arena.proxy.configuration.write_text(f"{text}ssl = no\n")
    arena.proxy.sighup()

    def is_open() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((HOST, arena.port), 5):
            return True
        return False

    wait_until("nobody listens for TLS", lambda: not is_open())
    arena.proxy.configuration.write_text(text)
    arena.proxy.sighup()
    wait_until("somebody listens for TLS", is_open)
    assert arena.shows(arena.pair)()


def test_the_key_is_read_by_root_alone(new_arena: NewArena) -> None:
    """Workers have the key in memory and never open it."""
    arena = new_arena(MODES["own"])
    assert os.stat(arena.pair.key).st_mode & 0o777 == 0o600
    assert arena.shows(arena.pair)()
    arena.pair.key.unlink()
    for _ in range(5):
        assert arena.shows(arena.pair)()
