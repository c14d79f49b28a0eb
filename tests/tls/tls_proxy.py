"""A proxy with all four ports, a certificate, and users in a file that tests write."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Self

from tests.harness.ports import free_port
from tests.harness.proxy import HOST, Proxy
from tests.harness.raw_client import RawClient
from tests.harness.tls import Authority

NAME = "mail.example.org"

_MAIN = """\
protocols = imap imaps pop3 pop3s
ssl_disable = no
protocol imap {{
  ssl_listen = {host}:{imaps_port}
}}
protocol pop3 {{
  ssl_listen = {host}:{pop3s_port}
}}
{pair}
ssl_client_ca_file = {ca}
login_process_per_connection = no
login_processes_count = {workers}
login_max_connections = 4000
auth_verbose = yes
verbose_ssl = yes
{settings}
auth default {{
  mechanisms = {mechanisms}
  user = nobody
{auth}
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb passwd-file {{
    args = {users}
  }}
}}
"""


class TlsProxy(Proxy):
    """Write `users` and call `begin`; `authority` signs its certificate and is trusted towards backends."""

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self.authority = authority
        self.pair = authority.issue(NAME, HOST, "localhost", file=f"proxy-{self.imap_port}")
        self.imaps_port = free_port()
        self.pop3s_port = free_port()
        self.users = self.folder / "users"
        self.users.touch()

    def add(self, user: str, fields: str, password: str = "") -> None:
        """Add a user; without a password any is taken and the backend decides."""
        stored = f"{{PLAIN}}{password}" if password else ""
        more = "" if password else " nopassword"
        if password:
            self.secrets.add(password)
        with self.users.open("a") as users:
            users.write(f"{user}:{stored}::::::proxy{more} {fields}\n")

    def begin(
        self,
        settings: str = "",
        auth: str = "",
        mechanisms: str = "plain login",
        workers: int = 1,
        wait: bool = True,
    ) -> Self:
        """Write the configuration and start; with `wait`, until it greets in the clear."""
        self.write(
            _MAIN.format(
                host=HOST,
                imaps_port=self.imaps_port,
                pop3s_port=self.pop3s_port,
                pair=self.pair.settings(),
                ca=self.authority.ca,
                workers=workers,
                settings=settings,
                mechanisms=mechanisms,
                auth=auth,
                users=self.users,
            )
        )
        self.start(wait)
        return self

    def port(self, protocol: str, has_tls: bool) -> int:
        """Return one of the four ports."""
        if protocol == "imap":
            return self.imaps_port if has_tls else self.imap_port
        return self.pop3s_port if has_tls else self.pop3_port

    def plain(self, protocol: str = "imap", source: str = HOST) -> RawClient:
        """Connect in the clear and take the greeting."""
        return RawClient(self.port(protocol, has_tls=False), source=source)

    def secure(self, protocol: str = "imap", **how: object) -> TlsClient:
        """Connect to a port with TLS at once and take the greeting."""
        return TlsClient(self, self.port(protocol, has_tls=True), **how)  # type: ignore[arg-type]

    def upgrade(self, client: RawClient) -> None:
        """Shake hands on a connection whose STARTTLS was just answered."""
        wrap(client, self.context())

    def context(self) -> ssl.SSLContext:
        """Return a client that trusts nobody but our authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority.ca)
        return context


def wrap(client: RawClient, context: ssl.SSLContext, name: str = NAME) -> ssl.SSLSocket:
    """Put TLS under a client."""
    client.socket = context.wrap_socket(client.socket, server_hostname=name)
    return client.socket


class TlsClient(RawClient):
    """A client whose every byte goes through TLS."""

    def __init__(
        self,
        proxy: TlsProxy,
        port: int,
        *,
        context: ssl.SSLContext | None = None,
        name: str = NAME,
        source: str = HOST,
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__(port, greet=False, source=source)
        try:
            self.tls = (context or proxy.context()).wrap_socket(
                self.socket, server_hostname=name, session=session
            )
            self.socket: socket.socket = self.tls
            self.greeting = self.line()
        except BaseException:
            self.socket.close()
            raise

    def reset(self) -> None:
        """End without a word of TLS."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.tls, socket.SHUT_RDWR)
        self.tls.close()
