"""Where an accepted user's session goes: the fields of auth's reply, checked once."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from mailproxy.base.secret import Secret
from mailproxy.base.text import printable
from mailproxy.ipc.auth_protocol import Fields
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.sasl import breaks_line

_NO_PORTS = 0
_LAST_PORT = 65535
_PORT_DIGITS = 5


_NO_SECRET = Secret(b"")


class BadTarget(Exception):
    """The passdb's fields lead nowhere; the text is for the log and holds no secret."""


class Target:
    """A backend and the login there. `host` is an IP address; `user` and `password` fit a line."""

    __slots__ = ("_password", "host", "port", "user")

    def __init__(self, host: str, port: int, user: bytes, password: Secret) -> None:
        self.host = host
        self.port = port
        self.user = user
        self._password = password

    def take_password(self) -> Secret:
        """Return the password, once: the target outlives its use, the password need not."""
        password, self._password = self._password, _NO_SECRET
        return password


@lru_cache(maxsize=1024)
def _address(host: bytes) -> str:
    """Return the address as text, empty if it is none. Backends are few, and parsing costs microseconds."""
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


def check_target(fields: Fields, user: bytes, default_port: int) -> Target:
    """Read `host`, `port`, `destuser` and `pass`; an empty value counts as absent. Raises BadTarget."""
    get = fields.get
    host = get(b"host") or b""
    if not host:
        raise BadTarget("host not given")
    address = _address(host)
    if not address:
        raise BadTarget(f"{printable(host)} is not a valid IP")
    port = parse_port(get(b"port") or b"", default_port)
    if not port:
        raise BadTarget(f"port {printable(fields[b'port'])} is not a number from 1 to 65535")
    password = get(b"pass") or b""
    if not password:
        raise BadTarget("password not given")
    destuser = get(b"destuser") or user
    if not destuser:
        raise BadTarget("user not given")
    if breaks_line(destuser) or breaks_line(password):
        name = "destuser" if breaks_line(destuser) else "pass"
        raise BadTarget(f"field {name} holds CR, LF or NUL, nothing was sent to the backend")
    if b"ssl" in fields or b"starttls" in fields:
        _refuse_tls(fields)
    return Target(address, port, destuser, Secret(password))


def check_referral(fields: Fields, default_port: int) -> tuple[bytes, int]:
    """Read the place of a referral: an address or a name, which must fit an URL. Raises BadTarget."""
    host = fields[b"host"]
    port = parse_port(fields.get(b"port", b""), default_port)
    if not port or not host.translate(None, b".-:").isalnum():
        raise BadTarget(f"invalid host {printable(host)} or its port")
    return host, port


def _refuse_tls(fields: Fields) -> None:
    """A password that was meant for TLS must not leave in the clear."""
    for name in (b"ssl", b"starttls"):
        if fields.get(name, b"no") not in (b"no", b""):
            raise BadTarget(f"field {name.decode()} asks for TLS to the backend, which is not supported")


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
