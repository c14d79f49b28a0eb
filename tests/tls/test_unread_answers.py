"""A client who does not read what he asked for, and then wants TLS."""

from __future__ import annotations

import pytest

from tests.harness.raw_client import RawClient
from tests.tls.tls_proxy import TlsProxy

SMALL_BUFFERS = (
    "import socket, sys; from mailproxy import cli; from mailproxy.process import login;"
    " accept = login.Worker._on_accept\n"
    "def small(self, sock, address, listener):\n"
    "    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608); accept(self, sock, address, listener)\n"
    "login.Worker._on_accept = small; sys.exit(cli.main())"
)


@pytest.mark.parametrize("mode", ["yes", "no"])
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_tls_behind_answers_that_nobody_reads(proxy: TlsProxy, protocol: str, mode: str) -> None:
    """STARTTLS with more to say before it than the client takes: he is left at once.

    All of it fits into one read: while answers are unread nothing more is read.
    """
    proxy.program = ["-c", SMALL_BUFFERS]
    proxy.begin(f"login_process_per_connection = {mode}\n")
    many, starttls = {
        "imap": (b"a CAPABILITY\r\n" * 250, b"s STARTTLS\r\n"),
        "pop3": (b"CAPA\r\n" * 600, b"STLS\r\n"),
    }[protocol]
    with RawClient(proxy.port(protocol, has_tls=False), rcvbuf_bytes=4608) as client:
        client.send(many + starttls)
        # The first two are those who saw that both protocols greet.
        proxy.wait_log("Disconnected", 3)
        said = client.rest()
        assert said
        assert b"Begin TLS" not in said
    with proxy.plain(protocol) as client:
        assert client.ask(starttls).startswith((b"s OK", b"+OK"))
        proxy.upgrade(client)
        assert client.ask(b"NOOP NOOP\r\n").startswith((b"NOOP OK", b"-ERR"))
