"""Which backend is dialled, and from where: by the fields of the row, seen at the backends."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness.proxy import HOST
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import ScriptedBackend, imap_echo, pop3_echo
from tests.harness.wait import wait_until
from tests.tls.tls_proxy import TlsProxy

WORD = "Guest-Secret-33"
MODES = ["login_process_per_connection = yes\n", "login_process_per_connection = no\n"]


@pytest.fixture
def backends() -> Iterator[list[ScriptedBackend]]:
    """Three on addresses of their own, with one port."""
    first = ScriptedBackend(imap_echo, "127.0.0.61")
    others = [ScriptedBackend(imap_echo, f"127.0.0.6{number}", first.port) for number in (2, 3)]
    yield [first, *others]
    for backend in (first, *others):
        backend.close()
        backend.check()


def enter(proxy: TlsProxy, user: str, protocol: str = "imap") -> RawClient:
    """Log in, which has to work."""
    client = proxy.plain(protocol)
    if protocol == "imap":
        reply = client.ask(f"a1 LOGIN {user} {WORD}\r\n".encode())
        assert reply.startswith(b"a1 OK"), (reply, proxy.tail())
    else:
        assert client.ask(f"USER {user}\r\n".encode()) == b"+OK"
        reply = client.ask(f"PASS {WORD}\r\n".encode())
        assert reply.startswith(b"+OK"), (reply, proxy.tail())
    return client


def homes(proxy: TlsProxy, users: list[str], backends: list[ScriptedBackend]) -> list[int]:
    """Log each user in; return at which backend each was seen."""
    found = []
    for user in users:
        before = [len(backend.peers) for backend in backends]
        with enter(proxy, user):
            after = [len(backend.peers) for backend in backends]
        (at,) = [number for number in range(len(backends)) if after[number] > before[number]]
        found.append(at)
    return found


@pytest.mark.parametrize("mode", MODES, ids=["per-connection", "shared"])
@pytest.mark.parametrize("balance", ["first", "hash", "least"])
def test_balance(proxy: TlsProxy, backends: list[ScriptedBackend], balance: str, mode: str) -> None:
    """By the field, and the same by the setting for rows without it; each user stays where he is."""
    hosts = ",".join(backend.host for backend in backends)
    users = [f"user{number}" for number in range(12)]
    for user in users:
        proxy.add(user, f"host={hosts} port={backends[0].port} proxy_balance={balance}", WORD)
        proxy.add(f"{user}-d", f"host={hosts} port={backends[0].port}", WORD)
    proxy.begin(f"{mode}proxy_balance = {balance}\n")
    found = homes(proxy, users, backends)
    assert homes(proxy, users, backends) == found
    spread = Counter(found)
    if balance == "first":
        assert spread == {0: 12}
    elif balance == "least":
        assert spread == {0: 4, 1: 4, 2: 4}
    else:
        assert len(spread) > 1
    by_setting = Counter(homes(proxy, [f"{user}-d" for user in users], backends))
    assert by_setting == {0: 12} if balance == "first" else len(by_setting) > 1


def test_a_backend_that_is_down_leaves_its_users_to_the_next(
    proxy: TlsProxy, backends: list[ScriptedBackend]
) -> None:
    """`hash`: nobody else moves, and they come back with it."""
    hosts = ",".join(backend.host for backend in backends)
    users = [f"user{number}" for number in range(12)]
    for user in users:
        proxy.add(user, f"host={hosts} port={backends[0].port} proxy_balance=hash", WORD)
    proxy.begin()
    before = homes(proxy, users, backends)
    gone = before[0]
    place = backends[gone].host, backends[gone].port
    backends[gone].close()
    after = homes(proxy, users, backends)
    assert gone not in after
    assert [old == new for old, new in zip(before, after, strict=True) if old != gone] == [True] * (
        12 - before.count(gone)
    )
    backends[gone] = ScriptedBackend(imap_echo, *place)
    assert homes(proxy, users, backends) == before


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_the_source_address_of_a_row(proxy: TlsProxy, protocol: str) -> None:
    """Before the setting, which holds for other rows; both families."""
    with ScriptedBackend(imap_echo if protocol == "imap" else pop3_echo) as backend:
        fields = f"host={backend.host} port={backend.port}"
        proxy.add("one", f"{fields} source_ip=127.0.0.71", WORD)
        proxy.add("two", fields, WORD)
        proxy.add("three", f"{fields} source_ip=192.0.2.200", WORD)
        proxy.add("four", f"{fields} source_ip=::1", WORD)
        proxy.begin("login_source_ips = 127.0.0.72\nlogin_proxy_max_reconnects = 0\n")
        for user, source in (("one", "127.0.0.71"), ("two", "127.0.0.72")):
            with enter(proxy, user, protocol) as client:
                assert client.ask(b"ping\r\n") == b"ping"
                assert backend.peers[-1].address == source
        for user, why in (("three", "Cannot assign requested address"), ("four", "another IP family")):
            with proxy.plain(protocol) as client:
                if protocol == "imap":
                    reply = client.ask(f"a1 LOGIN {user} {WORD}\r\n".encode())
                    assert reply.startswith(b"a1 NO [UNAVAILABLE]"), reply
                else:
                    client.ask(f"USER {user}\r\n".encode())
                    assert client.ask(f"PASS {WORD}\r\n".encode()).startswith(b"-ERR [SYS/TEMP]")
            proxy.wait_log(why)
        backend.check()


@pytest.mark.parametrize("mode", MODES, ids=["per-connection", "shared"])
def test_source_addresses_in_turn(proxy: TlsProxy, mode: str) -> None:
    """`login_source_ips`: also where each process makes a single connection."""
    with ScriptedBackend(imap_echo) as backend:
        proxy.add("guest", f"host={backend.host} port={backend.port}", WORD)
        proxy.begin(f"{mode}login_source_ips = 127.0.0.73 127.0.0.74\n")
        for number in itertools.count(1):
            with enter(proxy, "guest"):
                pass
            if {peer.address for peer in backend.peers} == {"127.0.0.73", "127.0.0.74"}:
                break
            assert number < 40, "always the same address"
        backend.check()


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback address")
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_backends_with_ipv6(proxy: TlsProxy, protocol: str) -> None:
    """Alone, in brackets with a port, behind one with IPv4 that is down, and with a source address."""
    with ScriptedBackend(imap_echo if protocol == "imap" else pop3_echo, "::1") as backend:
        rows = {
            "alone": f"host=::1 port={backend.port}",
            "bracket": f"host=[::1]:{backend.port}",
            "second": f"host=127.77.250.251:{backend.port},[::1]:{backend.port}",
            "named": f"host=mail.example.org hostip=127.77.250.251,::1 port={backend.port}",
            "source": f"host=mail.example.org hostip=127.77.250.251,::1 port={backend.port} source_ip=::1",
        }
        for user, fields in rows.items():
            proxy.add(user, fields, WORD)
        proxy.begin("login_source_ips = 127.0.0.75 ::1\n")
        for user in rows:
            with enter(proxy, user, protocol) as client:
                assert client.ask(b"ping\r\n") == b"ping"
        assert [peer.address for peer in backend.peers] == ["::1"] * len(rows)
        proxy.wait_log("started proxying", len(rows))
        assert proxy.log_text().count("connect(127.77.250.251, ") == 2
        backend.check()


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_proxy_maybe(proxy: TlsProxy, protocol: str) -> None:
    """To another server it is `proxy`; to ourselves there is no mail to serve, which the log says."""
    with ScriptedBackend(imap_echo if protocol == "imap" else pop3_echo) as backend:
        own = proxy.port(protocol, has_tls=False)
        users = proxy.users
        users.write_text(
            f"afar:{{PLAIN}}{WORD}::::::proxy_maybe=y host={HOST} port={backend.port}\n"
            f"here:{{PLAIN}}{WORD}::::::proxy_maybe=y host={HOST} port={own}\n"
        )
        proxy.begin()
        with enter(proxy, "afar", protocol) as client:
            assert client.ask(b"ping\r\n") == b"ping"
        with proxy.plain(protocol) as client:
            if protocol == "imap":
                reply = client.ask(f"a1 LOGIN here {WORD}\r\n".encode())
                assert reply == b"a1 NO [UNAVAILABLE] Temporary authentication failure."
            else:
                client.ask(b"USER here\r\n")
                reply = client.ask(f"PASS {WORD}\r\n".encode())
                assert reply == b"-ERR [SYS/TEMP] Temporary authentication failure."
        proxy.wait_log(f"proxy_maybe: {HOST}:{own} is this very server, which has no local mail storage")
        backend.check()


@pytest.mark.parametrize("mode", MODES, ids=["per-connection", "shared"])
def test_a_host_known_to_be_down_fails_at_once(proxy: TlsProxy, mode: str) -> None:
    """`proxy_host_immediate_failure_after`: by the row, in a process that carries many connections."""
    fields = "host=127.77.250.252 port=9"
    proxy.add("hasty", f"{fields} proxy_host_immediate_failure_after=1", WORD)
    proxy.add("never", f"{fields} proxy_host_immediate_failure_after=0", WORD)
    proxy.begin(f"{mode}login_proxy_max_reconnects = 0\n")
    told = "failing for"

    def fail(user: str) -> None:
        with proxy.plain() as client:
            assert client.ask(f"a1 LOGIN {user} {WORD}\r\n".encode()).startswith(b"a1 NO [UNAVAILABLE]")

    if "yes" in mode:
        for _ in range(3):
            fail("hasty")
        assert told not in proxy.log_text()
        return

    def is_told() -> bool:
        fail("hasty")
        return told in proxy.log_text()

    wait_until("a login is refused without a try", is_told, 10)
    refused = proxy.log_text().count(told)
    fail("never")
    assert proxy.log_text().count(told) == refused
