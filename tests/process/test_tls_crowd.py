"""Many clients within TLS who do not log in, or who never finish a handshake."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.process.look import echoes, guest, pids
from tests.process.test_certificate_files import TlsArena

SLOPE_KIB = 64
# Where each has a process, the oldest is sent away when all have been taken for a second.
GOOD_S = {"shared": 1.0, "own": 3.0}
CLIENTS = 40
SLOTS = {
    "shared": (
        "login_processes_count = 2",
        "login_max_processes_count = 2",
        f"login_max_connections = {CLIENTS // 2}",
    ),
    "own": ("login_processes_count = 4", f"login_max_processes_count = {CLIENTS}"),
}
# The head of a record that is to hold a ClientHello of 512 bytes.
BEGINNING = b"\x16\x03\x01\x02\x00\x01"
NewTlsArena = Callable[..., TlsArena]


@pytest.fixture
def new_tls_arena() -> Iterator[NewTlsArena]:
    with contextlib.ExitStack() as stack:
        yield lambda *settings: stack.enter_context(TlsArena(*settings))


def test_memory_of_clients_who_wait(new_tls_arena: NewTlsArena) -> None:
    """X06: 64 KiB each at most, by the slope over 500 after their handshakes, and nothing stays of them."""
    arena = new_tls_arena(MODES["shared"])
    (worker,) = arena.proxy.children("imap-login")
    context = arena.context()
    fds = worker.num_fds()

    def resident_kib() -> int:
        return int(worker.memory_info().rss) // 1024

    clients = [arena.connect(context=context) for _ in range(100)]
    before_kib = resident_kib()
    clients += [arena.connect(context=context) for _ in range(500)]
    slope_kib = (resident_kib() - before_kib) / 500
    assert slope_kib < SLOPE_KIB, f"{slope_kib:.1f} KiB"
    print(f"a client who waits within TLS: {slope_kib:.1f} KiB")
    full_kib = resident_kib()
    for client in clients:
        client.close()
    wait_until("all are let go", lambda: worker.num_fds() <= fds)
    again = [arena.connect(context=context) for _ in range(600)]
    assert resident_kib() - full_kib < 2048, "it grows with each crowd"
    for client in again:
        client.close()
    assert arena.proxy.children("imap-login") == [worker]


def good_login_s(arena: TlsArena, context: ssl.SSLContext) -> float:
    """Connect, shake hands, log in and out; returns how long that took."""
    begin = time.monotonic()
    with arena.connect(context=context) as client:
        client.sendall(b"a LOGIN guest %s\r\n" % arena.GUEST)
        assert client.recv(500).startswith(b"a OK ")
    return time.monotonic() - begin


def held(arena: TlsArena) -> int:
    """Return how many clients the workers have."""
    found = 0
    for worker in arena.proxy.children("imap-login"):
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            found += sum(
                one.laddr.port == arena.port and bool(one.raddr) for one in worker.net_connections("tcp4")
            )
    return found


@pytest.mark.parametrize("mode", list(MODES))
def test_a_flood_of_handshakes_that_never_end(new_tls_arena: NewTlsArena, mode: str) -> None:
    """X02: bounded by the slots, ended by the deadline; good logins are quick, and sessions stay."""
    arena = new_tls_arena(MODES[mode], *SLOTS[mode], "login_timeout = 6")
    context = arena.context()
    auth = pids(arena, "auth")
    took_s = []
    with guest(arena) as session, contextlib.ExitStack() as crowd:
        slow = []
        for number in range(120):
            client = crowd.enter_context(RawClient(arena.port, greet=False))
            client.send(BEGINNING[: 1 + number % len(BEGINNING)])
            slow.append(client)
            if number % 20 == 19:
                took_s.append(good_login_s(arena, context))
        print(f"good logins took {max(took_s):.2f} s at most")
        assert max(took_s) < GOOD_S[mode], took_s
        assert held(arena) <= CLIENTS
        assert len(pids(arena, "imap-login")) <= CLIENTS
        assert echoes(session)
        # Those who were not pushed out go by the deadline, and hear nothing.
        assert {client.rest() for client in slow} == {b""}
        assert echoes(session)
    wait_until("nobody has a client any more", lambda: held(arena) == 0)
    assert len(pids(arena, "imap-login")) <= CLIENTS
    assert pids(arena, "auth") == auth
    assert good_login_s(arena, context) < GOOD_S[mode]
