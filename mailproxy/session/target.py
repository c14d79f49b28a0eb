"""Where an accepted user's session goes: the fields of auth's reply, checked once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from mailproxy.base.secret import Secret
from mailproxy.base.text import printable
from mailproxy.ipc.auth_protocol import Fields
from mailproxy.proto.backend import Account
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.haproxy import Endpoints
from mailproxy.proto.haproxy import render as haproxy_header
from mailproxy.proto.sasl import BACKEND_MECHANISMS, OAUTH, PLAIN, breaks_line
from mailproxy.session.client import Client
from mailproxy.session.identity import identity_of
from mailproxy.session.policy import Policy

_NO_PORTS = 0
_LAST_PORT = 65535
_PORT_DIGITS = 5


class BadTarget(Exception):
    """The passdb's fields lead nowhere; the text is for the log and holds no secret."""


class Server(NamedTuple):
    """One address of a backend; `name` is as configured, and what its certificate has to say."""

    name: str
    ip: str
    port: int
    place: str
    """How log lines name it."""

    def __str__(self) -> str:
        return self.place


class Target:
    """Where to log in, and as whom."""

    # fmt: off
    __slots__ = (
        "account", "header", "immediate_failure_after_s", "servers", "source_ip", "timeout_s", "verify",
    )
    # fmt: on

    def __init__(self, account: Account, servers: Sequence[Server]) -> None:
        self.account = account
        self.servers = servers
        """In the order to try, at least one."""
        self.verify: bool | None = None
        """Whether a certificate has to be right; None without TLS."""
        self.source_ip = ""
        self.header = b""
        """What a backend is sent before everything else: whose connection it is, by the PROXY protocol."""
        self.timeout_s = 0.0
        """For everything up to the backend's answer to the login; 0 is the default."""
        self.immediate_failure_after_s: float | None = None
        """How long a backend must have been failing until it is not tried; 0 is never, None the default."""

    def source_ip_for(self, ip: str) -> str:
        """Return the address to dial from, if one is wished that can reach `ip`."""
        return self.source_ip if (":" in self.source_ip) is (":" in ip) else ""


@lru_cache(maxsize=1024)
def _address(host: bytes) -> str:
    """Return the address as text, empty if it is none. Parsing costs microseconds."""
    text = host.decode("ascii", "replace")
    try:
        ip_address(text)
    except ValueError:
        return ""
    return text


def parse_port(value: bytes, default: int) -> int:
    """Read the field `port`; empty is absent, 0 stands for a value that is no port."""
    if not value:
        return default
    if not value.isdigit() or len(value) > _PORT_DIGITS or int(value) > _LAST_PORT:
        return _NO_PORTS
    return int(value)


def check_target(fields: Fields, user: bytes, policy: Policy, client: Client) -> Target:
    """Read what the passdb says about the backend; an empty value counts as absent. Raises BadTarget."""
    get = fields.get
    is_plain = _RARE.isdisjoint(fields)
    verify, starttls = (None, False) if is_plain else _tls_of(fields)
    servers = _servers(
        get(b"host", b""),
        b"" if is_plain else get(b"hostip", b""),
        get(b"port", b""),
        b"" if is_plain else get(b"proxy_alternatives", b""),
        policy.backend_port if verify is None or starttls else policy.backend_tls_port,
    )
    password = get(b"pass", b"")
    if not password:
        raise BadTarget("password not given")
    destuser = get(b"destuser") or user
    if not destuser:
        raise BadTarget("user not given")
    if breaks_line(destuser + password):
        name = "destuser" if breaks_line(destuser) else "pass"
        raise BadTarget(f"field {name} holds CR, LF or NUL, nothing was sent to the backend")
    _check_loop(servers, fields, policy, client)
    target = Target(Account(destuser, Secret(password), starttls, identity_of(client)), servers)
    if not is_plain:
        target.verify = verify
        _take_rare(target, password, fields, client)
    return target


# Most rows have none of these, and then there is nothing to look for.
_RARE = frozenset(
    (
        *(b"hostip", b"proxy_alternatives", b"ssl", b"starttls", b"proxy_mech", b"master", b"haproxy"),
        *(b"proxy_not_trusted", b"proxy_nopipelining", b"proxy_timeout", b"source_ip"),
        b"proxy_host_immediate_failure_after",
    )
)


def _take_rare(target: Target, password: bytes, fields: Fields, client: Client) -> None:
    get, account = fields.get, target.account
    account.mechanism, account.master = get(b"proxy_mech", b"").upper(), get(b"master", b"")
    if account.master or account.mechanism:
        account.mechanism = account.mechanism or PLAIN
        _check_sasl(account.mechanism, account.master, account.user, password)
    if b"proxy_not_trusted" in fields:
        account.identity = None
    account.waits_for_replies = b"proxy_nopipelining" in fields
    if timeout := get(b"proxy_timeout"):
        target.timeout_s = _seconds("proxy_timeout", timeout)
        if not target.timeout_s:
            raise BadTarget(f"proxy_timeout {printable(timeout)} is not a number of seconds")
    if after := get(b"proxy_host_immediate_failure_after"):
        target.immediate_failure_after_s = _seconds("proxy_host_immediate_failure_after", after)
    if source_ip := get(b"source_ip"):
        target.source_ip = _address(source_ip)
        if not target.source_ip:
            raise BadTarget(f"source_ip {printable(source_ip)} is not a valid IP")
    if haproxy := get(b"haproxy"):
        target.header = _header(haproxy, client)


# Backends are few: for nearly every login this was worked out before.
@lru_cache(maxsize=1024)
def _servers(
    host: bytes, hostip: bytes, wanted_port: bytes, alternatives: bytes, default_port: int
) -> tuple[Server, ...]:
    if not host:
        raise BadTarget("host not given")
    port = parse_port(wanted_port, default_port)
    servers = [_server(host, ip, port) for ip in (hostip or host).split(b",")]
    if not port:
        raise BadTarget(f"port {printable(wanted_port)} is not a number from 1 to 65535")
    for alternative in alternatives.split(b" ") if alternatives else ():
        name, _, place = alternative.partition(b"/")
        ip, _, own_port = place.partition(b"/")
        server = _server(name, ip or name, parse_port(own_port, port))
        if not server.port:
            raise BadTarget(f"proxy_alternatives: {printable(alternative)} has no valid port")
        servers.append(server)
    return tuple(servers)


def _server(name: bytes, ip: bytes, port: int) -> Server:
    address = _address(ip)
    if not address:
        raise BadTarget(f"{printable(ip)} is not a valid IP")
    known_as = address if name == ip else printable(name, 255)
    host = address if known_as == address else f"{known_as}({address})"
    return Server(known_as, address, port, f"{host}:{port}")


def _header(value: bytes, client: Client) -> bytes:
    if value not in (b"yes", b"no"):
        raise BadTarget(f"field haproxy is neither yes nor no: {printable(value)}")
    if value == b"no":
        return b""
    return haproxy_header(Endpoints(client.rip, client.rport, client.lip, client.lport))


_VERIFIES = {b"yes": True, b"any-cert": False}


def _tls_of(fields: Fields) -> tuple[bool | None, bool]:
    """Return whether to verify, and whether TLS begins by STARTTLS. A password meant for TLS waits for it."""
    for name in (b"starttls", b"ssl"):
        value = fields.get(name, b"no")
        if value in (b"no", b""):
            continue
        if value not in _VERIFIES:
            raise BadTarget(f"field {name.decode()} is neither yes nor any-cert nor no: {printable(value)}")
        return _VERIFIES[value], name == b"starttls"
    return None, False


def _check_sasl(mechanism: bytes, master: bytes, user: bytes, password: bytes) -> None:
    if mechanism not in BACKEND_MECHANISMS:
        known = b", ".join(BACKEND_MECHANISMS).decode()
        raise BadTarget(f"proxy_mech {printable(mechanism)} is none of {known}")
    if master and mechanism != PLAIN:
        raise BadTarget("field master needs proxy_mech=PLAIN, the only one with an authorization ID")
    if breaks_line(master):
        raise BadTarget("field master holds CR, LF or NUL, nothing was sent to the backend")
    if mechanism in OAUTH and (b"\x01" in user or b"\x01" in password):
        raise BadTarget("user or token holds byte 1, nothing was sent to the backend")


def _check_loop(servers: Sequence[Server], fields: Fields, policy: Policy, client: Client) -> None:
    if client.proxy_ttl <= 1:
        raise BadTarget("proxies loop: x-proxy-ttl has come to its end")
    if b"proxy_always" in fields:
        return
    for server in servers:
        place = (server.ip, server.port)
        if place in policy.own_addresses or place == client.met_at:
            if b"proxy_maybe" in fields:
                raise BadTarget(f"proxy_maybe: {server} is this very server, which has no local mail storage")
            raise BadTarget(f"proxying loops: {server} is this very server")


_SECONDS = re.compile(rb"[0-9]{1,6}(?:\.[0-9]{1,6})?")


def _seconds(name: str, value: bytes) -> float:
    if _SECONDS.fullmatch(value) is None:
        raise BadTarget(f"{name} {printable(value)} is not a number of seconds")
    return float(value)


def check_referral(fields: Fields, default_port: int) -> tuple[bytes, int] | None:
    """Read the place of a referral: an address or a name, which must fit an URL. Raises BadTarget."""
    host = fields.get(b"host")
    if not host:
        return None
    port = parse_port(fields.get(b"port", b""), default_port)
    if not port or not host.translate(None, b".-:").isalnum():
        raise BadTarget(f"invalid host {printable(host)} or its port")
    return host, port


_CODES = {
    b"authz_fail": Refusal.AUTHORIZATION,
    b"user_disabled": Refusal.DISABLED,
    b"pass_expired": Refusal.EXPIRED,
    b"temp_fail": Refusal.TEMPORARY,
    b"invalid_base64": Refusal.ENCODING,
    b"auth_mech_invalid": Refusal.UNSUPPORTED,
    b"auth_mech_ssl_required": Refusal.PRIVACY,
}


def refusal_of_fields(fields: Fields) -> tuple[Refusal, bytes]:
    """Say what a FAIL means for the client, and the text that the passdb has for him, if any.

    A failure is never proxied, and with `proxy` in it the client hears the plain failure, as in Dovecot;
    but what is temporary stays so.
    """
    code = fields.get(b"code", b"")
    if b"temp" in fields or code == b"temp_fail":
        return Refusal.TEMPORARY, b""
    if b"proxy" in fields:
        return Refusal.CREDENTIALS, b""
    reason = one_line(fields.get(b"reason", b""))
    refusal = _CODES.get(code, Refusal.REASON if reason else Refusal.CREDENTIALS)
    return refusal, reason


_CONTROLS = bytes(range(32)) + b"\x7f"
_BLANKS = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))


def one_line(text: bytes) -> bytes:
    """Return a passdb's text for the user without control characters: it cannot become another reply."""
    return text.translate(_BLANKS)
