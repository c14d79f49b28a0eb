"""What holds for every login of a worker, computed once when auth has introduced itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import product
from typing import NamedTuple

from mailproxy.ipc.auth_protocol import Mechanism
from mailproxy.proto import sasl
from mailproxy.proto.backend import Account, Backend
from mailproxy.proto.frontend import TLS_ACTIVE, TLS_MISSING, Face, Frontend
from mailproxy.proto.imap import render as imap
from mailproxy.proto.imap.backend import ImapBackend
from mailproxy.proto.imap.frontend import ImapFrontend
from mailproxy.proto.pop3 import render as pop3
from mailproxy.proto.pop3.backend import Pop3Backend
from mailproxy.proto.pop3.frontend import Pop3Frontend
from mailproxy.session.client import Client
from mailproxy.session.log_line import LogLine

Send = Callable[[bytes], None]


class LoginProtocol(Enum):
    """The value is the setting's word, which is also auth's `service`."""

    IMAP = "imap"
    POP3 = "pop3"


class _Kind(NamedTuple):
    """A kind of connection."""

    has_tls: bool
    is_secured: bool
    is_trusted: bool


class Policy:
    """Shared by all sessions of a worker; but for `limit` it does not change after construction."""

    __slots__ = (
        "_disable_plaintext_auth",
        "_faces",
        "_fixed",
        "_greeting",
        "_in_greeting",
        "_tls_available",
        "_tls_required",
        "_words",
        "apop_offered",
        "backend",
        "backend_port",
        "backend_tls_port",
        "frontend",
        "host_name",
        "log_id",
        "log_line",
        "login_timeout_s",
        "max_reconnects",
        "mechanisms",
        "name",
        "own_addresses",
        "protocol",
        "proxy_timeout_s",
        "too_many_text",
        "trusted_networks",
        "verbose",
    )

    def __init__(
        self,
        protocol: LoginProtocol,
        mechanisms: Sequence[Mechanism],
        *,
        greeting: str,
        greeting_capability: bool,
        capability: str,
        disable_plaintext_auth: bool,
        login_timeout_s: float,
        proxy_timeout_s: float,
        log_format_elements: str,
        log_format: str,
        verbose: bool,
        host_name: str,
        tls_available: bool = False,
        tls_required: bool = False,
        trusted_networks: Sequence[str] = (),
        own_addresses: Collection[tuple[str, int]] = (),
        max_reconnects: int = 0,
        max_userip_connections: int = 0,
        log_id: str = "",
    ) -> None:
        """Take auth's mechanisms in its order, and the settings under Dovecot's names.

        `capability` is the fixed part of the list; `host_name` goes into APOP challenges. `tls_required` is
        `ssl = required`, `trusted_networks` is `login_trusted_networks`, `max_reconnects` is
        `login_proxy_max_reconnects`, `max_userip_connections` is `mail_max_userip_connections`;
        `own_addresses` are the pairs of address and port that lead back here; `log_id` names the fields
        of a client's ID that are logged, `*` for all, empty for none.
        """
        self.protocol = protocol
        self.name = protocol.name
        """`IMAP` or `POP3`, `%s` of a login line."""
        self.mechanisms = {mechanism.name.upper(): mechanism for mechanism in mechanisms}
        self.apop_offered = protocol is LoginProtocol.POP3 and sasl.APOP in self.mechanisms
        """Whether a session should be given a challenge, `<pid.id.time.random@host_name>`."""
        is_imap = protocol is LoginProtocol.IMAP
        self.frontend: Callable[[Face, Send, bytes], Frontend] = ImapFrontend if is_imap else Pop3Frontend
        """Makes the side of the client; the last argument is the challenge of APOP."""
        self.backend: Callable[[Account, bytes, Send], Backend] = ImapBackend if is_imap else Pop3Backend
        """Makes the side of the backend; the bytes are the tag."""
        self.backend_port = 143 if protocol is LoginProtocol.IMAP else 110
        self.backend_tls_port = 993 if protocol is LoginProtocol.IMAP else 995
        self.own_addresses = frozenset(own_addresses)
        self.max_reconnects = max_reconnects
        self.log_id = log_id
        self.too_many_text = (
            "Maximum number of connections from user+IP exceeded "
            f"(mail_max_userip_connections={max_userip_connections})"
        )
        self.login_timeout_s = login_timeout_s
        self.proxy_timeout_s = proxy_timeout_s
        self.verbose = verbose
        self.host_name = host_name
        self.log_line = LogLine(log_format_elements, log_format)
        self._greeting = greeting.encode("utf-8", "surrogateescape")
        self._in_greeting = greeting_capability
        self._words = self._fixed = _words(capability)
        self._disable_plaintext_auth = disable_plaintext_auth
        self._tls_available = tls_available
        self._tls_required = tls_required
        self.trusted_networks = [ip_network(network, strict=False) for network in trusted_networks]
        self._faces: dict[tuple[bool, bool, bool], Face] = {
            kind: self._face(kind) for kind in map(_Kind._make, product((False, True), repeat=3))
        }

    def limit(self, lacking: Collection[bytes]) -> None:
        """Tell clients of no capability in `lacking`, which is upper case, and of all others from now on.

        A process per connection does so for its single login, so faces are made when they are asked for.
        """
        fixed = [word for word in self._words if word.upper() not in lacking]
        if fixed != self._fixed:
            self._fixed = fixed
            self._faces.clear()

    def face(self, client: Client) -> Face:
        """Return what a client may be told, as he is connected now."""
        kind = (bool(client.tls), client.secured, client.is_trusted)
        face = self._faces.get(kind)
        if face is None:
            face = self._faces[kind] = self._face(_Kind._make(kind))
        return face

    def trusts(self, address: str) -> bool:
        """Whether a peer at this IP address may say for whom he speaks; he also counts as secured."""
        return is_within(address, self.trusted_networks)

    def _offered(self, plaintext_allowed: bool) -> list[bytes]:
        return [
            name
            for name, mechanism in self.mechanisms.items()
            if not mechanism.is_private and (plaintext_allowed or not mechanism.is_plaintext)
        ]

    def _face(self, client: _Kind) -> Face:
        starttls_refusal = TLS_ACTIVE if client.has_tls else b"" if self._tls_available else TLS_MISSING
        login_allowed = client.has_tls or not self._tls_required
        plaintext_allowed = login_allowed and (client.is_secured or not self._disable_plaintext_auth)
        is_trusted, greeting = client.is_trusted, self._greeting
        fixed = b" ".join(self._fixed)
        names = self._offered(plaintext_allowed) if login_allowed else []
        listing = b""
        if self.protocol is LoginProtocol.IMAP:
            if is_trusted and b"ID" not in self._fixed:
                fixed += b" ID"  # Or he would never say for whom he speaks, nor how often it was passed on.
            words = imap.capability(fixed, names, not starttls_refusal, not plaintext_allowed)
            code = b"[CAPABILITY %s] " % words if self._in_greeting or is_trusted else b""
            banner = b"* OK %s%s\r\n" % (code, greeting)
            capability = b"* CAPABILITY %s\r\n" % words
        else:
            user_allowed = plaintext_allowed and sasl.PLAIN in self.mechanisms
            banner = b"+OK %s%s\r\n" % (b"[XCLIENT] " if is_trusted else b"", greeting)
            capability = pop3.capability(
                fixed, names if login_allowed else None, not starttls_refusal, user_allowed
            )
            listing = pop3.mechanism_list(names)
        return Face(
            banner,
            capability,
            listing,
            plaintext_allowed=plaintext_allowed,
            login_allowed=login_allowed,
            starttls_refusal=starttls_refusal,
            is_trusted=is_trusted,
        )


# What we do ourselves before the login, whatever backends can.
_OURS = frozenset((b"IMAP4REV1", b"SASL-IR", b"LOGIN-REFERRALS", b"ID"))


def _words(capability: str) -> list[bytes]:
    return capability.encode("ascii", "replace").split()


def words_of_backends(capability: str) -> frozenset[bytes]:
    """Return those capabilities, upper case, that a client uses after the login: no backend may lack them."""
    return frozenset(word.upper() for word in _words(capability)) - _OURS


def is_within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an IP address, IPv4 within IPv6 too, is in one of these; False of what is none."""
    try:
        number = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(number, "ipv4_mapped", None)
    return any((mapped or number) in network for network in networks)
