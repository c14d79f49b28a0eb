"""What the fields of a passdb row mean for a login, worked out once when the row is read.

Checks that depend on the row alone find its `fault`; checks that depend on the client run at each login.
Source: Dovecot 1.0 passdb extra fields, design section 6 (an empty field counts as absent).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

from mailproxy.auth.database import Row
from mailproxy.auth.schemes import StoredPassword, UnusablePassword, parse_stored
from mailproxy.base.text import printable
from mailproxy.ipc.auth_server_lines import render_words

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_EMPTY_IS_ABSENT = frozenset(("host", "port", "destuser", "pass", "reason", "user"))
_KEPT_HERE = frozenset(("user", "nodelay", "allow_nets", "nopassword", "password"))
_TO_BACKEND = ("user", "destuser", "pass")


@dataclass(slots=True, repr=False)
class Account:
    """One user as a passdb describes him. Made once per row, shared by the cache; never changed."""

    stored: StoredPassword | None
    """None: any password passes, unless `nobody` is set."""
    nobody: bool
    """The stored password is the empty string, a password that nobody has."""
    user: str
    """The name that the row puts in place of the one asked for; empty to keep it."""
    nodelay: bool
    proxy: bool
    forwards_typed: bool
    """Whether the typed password has to go to the backend: proxied, and no `pass` in the row."""
    allow_nets: str
    """As written; empty for no limit."""
    words: bytes
    """Fields for the worker, rendered; secret, as `pass` may be among them."""
    fault: str
    """Why the row cannot be used, for the log, without anything secret; empty if it can."""


def read_row(row: Row, default_scheme: str) -> Account:
    """Work out what a row means; whatever is wrong with it becomes the account's `fault`."""
    fields = {k: v for k, v in row.fields.items() if v or k not in _EMPTY_IS_ABSENT}
    proxy = "proxy" in fields
    sent = _sent(fields)
    fault = _field_fault(fields, sent, proxy)
    words = b""
    try:
        words = render_words(sent)
        fields.get("user", "").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        fault = "a field is not valid text"
    stored: StoredPassword | None = None
    if row.password and "nopassword" in fields:
        fault = "nopassword set but password is non-empty"
    elif row.password:
        try:
            stored = parse_stored(row.password, default_scheme)
        except UnusablePassword as problem:
            fault = str(problem)
    return Account(
        stored=stored,
        nobody=row.password == b"" and "nopassword" not in fields,
        user=fields.get("user", ""),
        nodelay="nodelay" in fields,
        proxy=proxy,
        forwards_typed=proxy and "pass" not in fields,
        allow_nets=fields.get("allow_nets", ""),
        words=words,
        fault=fault,
    )


def _sent(fields: dict[str, str]) -> dict[str, str]:
    sent = {k: v for k, v in fields.items() if k not in _KEPT_HERE and not k.startswith("userdb_")}
    # Their values mean nothing (`proxy` = 'N' is on as well), so nobody may be misled by them.
    for flag in ("proxy", "nologin"):
        if flag in sent:
            sent[flag] = ""
    if "host" in sent:
        sent["host"] = _canonical_ip(sent["host"]) or sent["host"]
    return sent


def _field_fault(fields: dict[str, str], sent: dict[str, str], proxy: bool) -> str:
    for name in _TO_BACKEND:
        value = fields.get(name, "")
        if "\r" in value or "\n" in value or "\0" in value:
            return f"field '{name}' has a CR, LF or NUL in it"
    if not proxy:
        return ""
    host = sent.get("host")
    if not host:
        return "field 'proxy' is set but field 'host' is missing or empty"
    if not _canonical_ip(host):
        return f"field 'host' is not an IP address: {printable(host)}"
    port = sent.get("port", "1")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        return f"field 'port' is not a number from 1 to 65535: {printable(port)}"
    return ""


def _canonical_ip(text: str) -> str:
    """Return the usual spelling of an address, also of `127.1`, which inet_aton takes; empty if none."""
    if "%" in text:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    # inet_aton ignores what follows a blank, so only its own alphabet may reach it.
    if not text or text.strip("0123456789abcdefABCDEFxX."):
        return ""
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except OSError:
        return ""


def is_forwardable(password: bytes) -> bool:
    """Whether a typed password can be sent to a backend at all."""
    return not (b"\r" in password or b"\n" in password or b"\0" in password)


def refused_network(allow_nets: str, client_ip: str, trace: Callable[[str], None]) -> str:
    """Check a client against `ip[/bits]` words split by commas and spaces; return why he is refused.

    An IPv4 address mapped into IPv6 counts as IPv4. An entry that is no network matches nobody. `trace`
    hears of each network that is tried.
    """
    try:
        address = ipaddress.ip_address(client_ip)
    except ValueError:
        return "allow_nets check failed: Remote IP not known"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    invalid = ""
    for word in allow_nets.replace(",", " ").split():
        trace(f"allow_nets: Matching for network {printable(word)}")
        try:
            if address in ipaddress.ip_network(word, strict=False):
                return ""
        except ValueError:
            invalid += f", allow_nets: Invalid network '{printable(word)}'"
    return "allow_nets check failed: IP not in allowed networks" + invalid
