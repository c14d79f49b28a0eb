"""The guard against slipping back: system calls of each process for a unit of work, against `budget.json`.

Times change with the machine and its load; counts do not. Clients come one at a time, so that nothing is
batched, and each count is over many of them.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.budget.budget import Calls, complaints
from tests.harness.arena import Arena
from tests.harness.folder import open_folder
from tests.harness.proxy import Proxy
from tests.harness.scripted_backend import Peer, ScriptedBackend, imap_echo
from tests.harness.syscalls import counting
from tests.harness.tls import Authority
from tests.tls.tls_proxy import TlsClient, TlsProxy

BUDGET = Path(__file__).with_name("budget.json")
WARM_UP = 20
LOGINS = 200
ROUND_TRIPS = 400
BULK_MIB = 64
MIB = 1 << 20
# Counts of what waits for others come out a little differently each time.
STEADY, COARSE = 0.05, 0.5
# Of a login with TLS: the library's own, and what there is less of when a client answers while we still work.
NOT_OURS = {"getpid", "read", "epoll_wait", "setsockopt"}


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """One worker a protocol, the cache on, logging as it is by default."""
    settings = "auth_debug = no\nauth_verbose = no\nauth_cache_size = 1024\nlogin_processes_count = 1\n"
    with contextlib.closing(Arena(settings)) as arena:
        yield arena.start()


@pytest.fixture(scope="module")
def tls_proxy() -> Iterator[TlsProxy]:
    """The same with a certificate, and with a backend that takes every password."""
    with (
        open_folder("ca") as folder,
        ScriptedBackend(imap_echo) as backend,
        TlsProxy(Authority(folder)) as proxy,
    ):
        proxy.add("guest", f"host=127.0.0.1 port={backend.port}")
        yield proxy.begin("auth_debug = no\nauth_cache_size = 1024\n")


def imap_session(arena: Arena) -> None:
    with arena.login("imap", b"guest", arena.GUEST) as client:
        client.half_close()
        assert client.rest() == b""


def pop3_session(arena: Arena) -> None:
    with arena.login("pop3", b"guest", arena.GUEST) as client:
        client.half_close()
        assert client.rest() == b""


def count(proxy: Proxy, roles: dict[str, str], units: float, work: Callable[[], None]) -> dict[str, Calls]:
    """Return the calls for one unit by the process's kind."""
    pids = {kind: [process.pid for process in proxy.children(role)] for kind, role in roles.items()}
    pids["master"] = [proxy.pid]
    counted = {}
    with contextlib.ExitStack() as stack:
        found = {kind: stack.enter_context(counting(those)) for kind, those in pids.items()}
        work()
        stack.close()
        for kind, calls in found.items():
            counted[kind] = {name: round(number / units, 2) for name, number in sorted(calls.items())}
    return counted


def check(name: str, counted: dict[str, Calls], slack: float = STEADY) -> None:
    """Compare with the committed budget; whoever makes a unit cheaper lowers the budget with it."""
    budget = json.loads(BUDGET.read_text()).get(name, {})
    found = complaints(budget, counted, slack)
    assert not found, "\n".join((f"{name}:", *found, "counted:", json.dumps(counted)))


@pytest.mark.parametrize(("protocol", "session"), [("imap", imap_session), ("pop3", pop3_session)])
def test_a_login(arena: Arena, protocol: str, session: Callable[[Arena], None]) -> None:
    """From the connection to its end, with the row in the cache."""
    for _ in range(WARM_UP):
        session(arena)

    def work() -> None:
        for _ in range(LOGINS):
            session(arena)

    roles = {"worker": f"{protocol}-login", "auth": "auth"}
    check(f"{protocol} login", count(arena.proxy, roles, LOGINS, work))


def test_a_login_with_tls(tls_proxy: TlsProxy) -> None:
    """Whole handshakes: each client is a new one."""
    context = tls_proxy.context()

    def work(times: int = LOGINS) -> None:
        for _ in range(times):
            with TlsClient(tls_proxy, tls_proxy.imaps_port, context=context) as client:
                assert b" OK" in client.ask(b"a LOGIN guest any\r\n")

    work(WARM_UP)
    roles = {"worker": "imap-login", "auth": "auth"}
    counted = count(tls_proxy, roles, LOGINS, work)
    counted["worker"] = {name: n for name, n in counted["worker"].items() if name not in NOT_OURS}
    check("imap login with TLS", counted)


def test_a_round_trip(arena: Arena) -> None:
    """A line one way and one back: what an open session costs when it is used."""
    with arena.login("imap", b"guest", arena.GUEST) as client:

        def work() -> None:
            for _ in range(ROUND_TRIPS):
                client.send(b"n NOOP\r\n")
                assert client.take(8) == b"n NOOP\r\n"

        check("round trip", count(arena.proxy, {"worker": "imap-login", "auth": "auth"}, ROUND_TRIPS, work))


def bulk(peer: Peer) -> None:
    """Be a backend that takes much, and then sends as much."""
    peer.send(b"* OK backend\r\n")
    tag, _, _ = peer.imap_login()
    peer.send(tag + b" OK in\r\n")
    read_exactly(peer.socket, BULK_MIB * MIB)
    peer.send(b"done")
    peer.line()
    for _ in range(BULK_MIB):
        peer.send(bytes(MIB))


def test_bulk(arena: Arena) -> None:
    """A MiB of a long stream; under strace the worker is slow, so that its sockets are always full."""
    arena.imap.play(bulk)

    def upload() -> None:
        for _ in range(BULK_MIB):
            client.send(bytes(MIB))
        assert client.take(4) == b"done"

    def download() -> None:
        client.send(b"go\r\n")
        read_exactly(client.socket, BULK_MIB * MIB)

    with arena.login("imap", b"john", arena.JOHN) as client:
        check("upload of a MiB", count(arena.proxy, {"worker": "imap-login"}, BULK_MIB, upload), COARSE)
        check("download of a MiB", count(arena.proxy, {"worker": "imap-login"}, BULK_MIB, download), COARSE)


def read_exactly(sock: socket.socket, count_bytes: int) -> None:
    buffer = bytearray(MIB)
    while count_bytes:
        got_bytes = sock.recv_into(buffer, min(count_bytes, MIB))
        assert got_bytes
        count_bytes -= got_bytes
