"""PROXY headers that we send: a real Dovecot that believes nothing else logs the client's own address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.dovecot import DovecotBackend
from tests.harness.ports import free_port
from tests.harness.proxy import HOST
from tests.harness.scripted_backend import Peer, ScriptedBackend
from tests.harness.tls import Authority
from tests.harness.wait import wait_until
from tests.tls.conftest import JOHN, JOHN_WORD
from tests.tls.tls_proxy import TlsProxy

NAME = "imap.example.org"
CLIENT = "127.0.0.9"
PORTS = {
    (protocol, way): free_port()
    for protocol in ("imap", "pop3")
    for way in ("", "ssl=yes", "starttls=any-cert")
}
HEADER_START = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"


def listeners(protocol: str) -> str:
    """Return Dovecot's listeners that insist on a header."""
    lines = [
        f"  inet_listener {protocol}-header-{port} {{\n    port = {port}\n    haproxy = yes\n"
        f"    ssl = {'yes' if way == 'ssl=yes' else 'no'}\n  }}\n"
        for (served, way), port in PORTS.items()
        if served == protocol
    ]
    return f"service {protocol}-login {{\n{''.join(lines)}}}\n"


@pytest.fixture(scope="module")
def behind_header(authority: Authority) -> Iterator[DovecotBackend]:
    """John's server; it does not trust what ID or XCLIENT says."""
    pair = authority.issue(NAME)
    settings = f"haproxy_trusted_networks = {HOST}\n{listeners('imap')}{listeners('pop3')}"
    with DovecotBackend("header", {JOHN: JOHN_WORD}, lambda _host: pair, settings) as backend:
        yield backend


@pytest.mark.parametrize(("protocol", "way"), PORTS)
def test_dovecot_logs_the_client(
    proxy: TlsProxy, behind_header: DovecotBackend, protocol: str, way: str
) -> None:
    """In the clear, in front of TLS and of STARTTLS; and it is asked what it can do by the same way."""
    port = PORTS[protocol, way]
    proxy.add(JOHN, f"host={NAME} hostip={behind_header.host} port={port} haproxy=yes {way}")
    proxy.probes = True
    proxy.begin()
    before = behind_header.log.read_text()
    with proxy.secure(protocol, source=CLIENT) as client:
        if protocol == "imap":
            assert client.ask(f"a1 LOGIN {JOHN} {JOHN_WORD}\r\n".encode()).startswith(b"a1 OK")
        else:
            assert client.ask(f"USER {JOHN}\r\n".encode()).startswith(b"+OK")
            assert client.ask(f"PASS {JOHN_WORD}\r\n".encode()).startswith(b"+OK")

    def logged() -> list[str]:
        lines = behind_header.log.read_text()[len(before) :].splitlines()
        return [line for line in lines if "Login: user=" in line]

    (line,) = wait_until("Dovecot logs the login", logged)
    assert f"rip={CLIENT}," in line
    assert f"lip={HOST}," in line
    assert (", TLS" in line) == bool(way)
    wait_until(
        "Dovecot was asked, too", lambda: "Aborted login" in behind_header.log.read_text()[len(before) :]
    )
    assert "Can't learn" not in proxy.log_text()


def test_the_header_comes_before_tls(proxy: TlsProxy) -> None:
    """T15: 28 bytes in the clear, then a ClientHello, and nothing else."""

    def script(peer: Peer) -> None:
        peer.expect(HEADER_START)
        peer.until_end()

    with ScriptedBackend(script) as backend:
        proxy.add(JOHN, f"host={HOST} port={backend.port} haproxy=yes ssl=yes proxy_timeout=1")
        proxy.begin()
        with proxy.secure(source=CLIENT) as client:
            reply = client.ask(f"a1 LOGIN {JOHN} {JOHN_WORD}\r\n".encode())
            assert reply.startswith(b"a1 NO [UNAVAILABLE]"), reply
        (peer,) = backend.wait_peers(1)
        assert peer.received[28:31] == b"\x16\x03\x01"
        backend.check()


def test_a_backend_that_is_down_or_leaves(proxy: TlsProxy) -> None:
    """B01, B03: refused, or closed at once, with a header waiting to be sent."""
    with ScriptedBackend(lambda peer: peer.reset()) as backend:
        proxy.add("mary", f"host={HOST} port={backend.port} haproxy=yes")
        proxy.add("jane", f"host={HOST} port={free_port()} haproxy=yes")
        proxy.begin("login_proxy_max_reconnects = 0")
        with proxy.secure() as client:
            for number, user in enumerate(("mary", "jane", "mary", "jane")):
                reply = client.ask(f"a{number} LOGIN {user} x\r\n".encode())
                assert reply.startswith(f"a{number} NO [UNAVAILABLE]".encode()), reply
