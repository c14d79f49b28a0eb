"""A server and a client of TLS in memory, and the settings of one that is good."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.config.settings import TlsSettings
from mailproxy.net.tls_context import (
    server_context,
)
from tests.harness.tls import Authority, Pair

NAME = "mail.example.org"
OTHER = "other.example.org"
PLAIN = TlsSettings(
    ssl_disable=False,
    required=False,
    ssl_min_protocol="TLSv1.2",
    ssl_ca_file="",
    ssl_client_ca_file="",
    ssl_cert_file="",
    ssl_key_file="",
    ssl_key_password="",
    ssl_cipher_list="",
    ssl_verify_client_cert=False,
    verbose_ssl=False,
    local_names=(),
)
Change = Callable[..., TlsSettings]


def of(pair: Pair) -> dict[str, str]:
    return {"ssl_cert_file": str(pair.cert), "ssl_key_file": str(pair.key)}


def client_context(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.ca)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


class Peers:
    """A server and a client of TLS, side by side without a socket."""

    def __init__(
        self,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
        name: str | None = NAME,
        session: ssl.SSLSession | None = None,
    ) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.to_server = to_server
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)

    def shake(self) -> Peers:
        """Finish the handshake, and let the client see the session tickets behind it."""
        waiting = [self.client, self.server]
        while waiting:
            for one in list(waiting):
                try:
                    one.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                waiting.remove(one)
        self.server.write(b"* OK\r\n")
        assert self.client.read() == b"* OK\r\n"
        return self

    def name(self) -> str:
        """Return the first name of the certificate that the client was shown."""
        shown = self.client.getpeercert()
        assert shown is not None
        alternatives = shown["subjectAltName"]
        return str(alternatives[0][1])


def problem(settings: TlsSettings) -> str:
    with pytest.raises(ConfigError) as caught:
        server_context(settings)
    return str(caught.value)
