"""What goes through TLS after the login, what it costs, and how it is resumed."""

from __future__ import annotations

import contextlib
import hashlib
import imaplib
import secrets
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from tests.harness.dovecot import DovecotBackend
from tests.harness.mail_client import big_message, leave
from tests.harness.packets import packets
from tests.harness.proxy import HOST
from tests.harness.scripted_backend import Peer, Script, ScriptedBackend, imap_echo
from tests.harness.tls import Authority
from tests.tls.conftest import JOHN, JOHN_WORD
from tests.tls.tls_proxy import TlsProxy

WORD = "Guest-Secret-33"
BULK_BYTES = 20 << 20
SESSIONS = 200
SESSION_LIMIT_KIB = 25
Within = Callable[[Script], Script]


@pytest.fixture
def within_tls(authority: Authority) -> Within:
    """Put TLS under a script of a backend."""
    pair = authority.issue(HOST, file="backend")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)

    def wrap(script: Script) -> Script:
        def play(peer: Peer) -> None:
            peer.socket = context.wrap_socket(peer.socket, server_side=True)
            script(peer)

        return play

    return wrap


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    """Where guest is."""
    with ScriptedBackend(imap_echo) as found:
        yield found
        found.check()


def log_in(peer: Peer) -> None:
    """Accept any login."""
    peer.send(b"* OK backend\r\n")
    tag, _, _ = peer.imap_login()
    peer.send(tag + b" OK in\r\n")


def take(peer: Peer, count: int) -> bytes:
    """Take that many bytes."""
    return peer._take(count)


LOGIN = f"a1 LOGIN guest {WORD}\r\n".encode()


@pytest.mark.parametrize("backend_tls", ["", "ssl=yes"], ids=["client", "both"])
def test_bulk_both_ways(
    proxy: TlsProxy, backend: ScriptedBackend, within_tls: Within, backend_tls: str
) -> None:
    """R01 within TLS: 20 MiB up, then 20 MiB down, to the byte."""
    up, down = secrets.token_bytes(BULK_BYTES), secrets.token_bytes(BULK_BYTES)

    def script(peer: Peer) -> None:
        log_in(peer)
        peer.send(hashlib.sha256(take(peer, BULK_BYTES)).digest())
        peer.send(down)
        peer.until_end()

    backend.play(within_tls(script) if backend_tls else script)
    proxy.add("guest", f"host={HOST} port={backend.port} {backend_tls}", WORD)
    proxy.begin()
    with proxy.secure() as client:
        assert client.ask(LOGIN).startswith(b"a1 OK")
        client.send(up)
        assert client.take(32) == hashlib.sha256(up).digest()
        assert hashlib.sha256(client.take(BULK_BYTES)).digest() == hashlib.sha256(down).digest()


@pytest.mark.parametrize("backend_tls", ["", "ssl=yes"], ids=["client", "both"])
def test_a_large_record_is_drained(
    proxy: TlsProxy, backend: ScriptedBackend, within_tls: Within, backend_tls: str
) -> None:
    """R13: 16 000 bytes in one record, then silence, in either direction."""
    backend.play(within_tls(imap_echo) if backend_tls else imap_echo)
    proxy.add("guest", f"host={HOST} port={backend.port} {backend_tls}", WORD)
    proxy.begin()
    with proxy.secure() as client:
        assert client.ask(LOGIN).startswith(b"a1 OK")
        for _ in range(5):
            block = secrets.token_bytes(16000)
            begin = time.monotonic()
            client.send(block)
            assert client.take(len(block)) == block
            took_s = time.monotonic() - begin
        assert took_s < 0.2, f"{took_s:.3f} s for both directions"


@pytest.mark.parametrize("backend_tls", ["", "ssl=yes"], ids=["client", "both"])
def test_an_idle_session_is_small(
    proxy: TlsProxy,
    backend: ScriptedBackend,
    within_tls: Within,
    backend_tls: str,
    record_property: Callable[[str, object], None],
) -> None:
    """X06: by the slope over 200 logged-in sessions, 25 KiB for each one with TLS to the client."""
    backend.play(within_tls(imap_echo) if backend_tls else imap_echo)
    proxy.add("guest", f"host={HOST} port={backend.port} {backend_tls}", WORD)
    proxy.begin()
    (worker,) = proxy.children("imap-login")
    with contextlib.ExitStack() as stack:

        def fill(count: int) -> int:
            context = proxy.context()
            for _ in range(count):
                client = stack.enter_context(proxy.secure(context=context))
                assert client.ask(LOGIN).startswith(b"a1 OK")
                assert client.ask(b"ping\r\n") == b"ping"
            return int(worker.memory_full_info().pss)

        before = fill(50)
        each_kib = (fill(SESSIONS) - before) / SESSIONS / 1024
    print(f"an idle session with TLS at {'both sides' if backend_tls else 'the client'}: {each_kib:.1f} KiB")
    record_property("kib", each_kib)
    limit_kib = 2 * SESSION_LIMIT_KIB if backend_tls else SESSION_LIMIT_KIB
    assert each_kib <= limit_kib, f"{each_kib:.1f} KiB"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_sessions_are_resumed_by_whichever_worker(proxy: TlsProxy, version: ssl.TLSVersion) -> None:
    """Four workers share the port; tests/process has the same for a process per connection."""
    proxy.begin(workers=4)
    context = proxy.context()
    context.maximum_version = version
    with proxy.secure(context=context) as first:
        session = first.tls.session
    with contextlib.ExitStack() as stack:
        peers = set()
        for _ in range(40):
            client = stack.enter_context(proxy.secure(context=context, session=session))
            assert client.tls.session_reused
            peers.add(client.socket.getsockname())
        pids = {
            process.pid
            for process in proxy.children("imap-login")
            for connection in process.net_connections("tcp4")
            if connection.raddr in peers
        }
    assert len(pids) > 1, "one worker had them all"


def test_tickets_come_with_the_greeting(proxy: TlsProxy) -> None:
    """Not in packets of their own: one for the server's hello, one for all that answers ours.

    A client who answers while the hello is still being written gets more: one of these is no such client.
    """
    proxy.begin()
    counts: list[int] = []
    while 2 not in counts and len(counts) < 20:
        with proxy.secure() as client:
            assert client.tls.version() == "TLSv1.3"
            counts.append(packets(client.socket).with_data)
    assert min(counts) == 2


def test_bulk_through_a_real_server(proxy: TlsProxy, dovecot: DovecotBackend) -> None:
    """20 MiB by APPEND, and the same back by FETCH, TLS on both sides."""
    proxy.add(JOHN, f"host=imap.example.org hostip={dovecot.host} ssl=yes")
    proxy.begin()
    message = big_message(BULK_BYTES)
    client = imaplib.IMAP4_SSL(HOST, proxy.imaps_port, ssl_context=proxy.context(), timeout=60)
    try:
        client.login(JOHN, JOHN_WORD)
        client.create("Bulk")
        assert client.append("Bulk", "", "", message)[0] == "OK"
        client.select("Bulk")
        found = client.fetch("1", "(BODY[])")[1][0]
        assert isinstance(found, tuple)
        assert hashlib.sha256(found[1]).digest() == hashlib.sha256(message).digest()
    finally:
        leave(client)
