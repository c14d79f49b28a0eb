"""What the fields of a passdb row mean for a login, worked out once when the row is read.

Checks that depend on the row alone find its `fault`; checks that depend on the client run at each login.
Source: Dovecot 1.0 passdb extra fields, design section 6 (an empty field counts as absent).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

from mailproxy.auth.database import Row
from mailproxy.auth.schemes import StoredPassword, UnusablePassword, parse_stored
from mailproxy.auth.target_fields import Approach, BadField, Destination, approach_of, is_proxied, read_target
from mailproxy.base.text import printable
from mailproxy.ipc.auth_server_lines import render_words

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_EMPTY_IS_ABSENT = frozenset(
    (
        *("host", "hostip", "port", "destuser", "pass", "reason", "user", "ssl", "starttls"),
        *("master", "proxy_mech", "proxy_timeout", "proxy_balance", "source_ip", "haproxy"),
        "proxy_host_immediate_failure_after",
    )
)
_KEPT_HERE = frozenset(("user", "nodelay", "allow_nets", "nopassword", "password"))
_TO_BACKEND = ("user", "destuser", "pass", "master")


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
    forwards_typed: bool
    """Whether the typed password has to go to the backend: proxied, and no `pass` in the row."""
    relays_token_of: str
    """The mechanism whose tokens the backend checks for this user; empty for none."""
    allow_nets: str
    """As written; empty for no limit."""
    words: bytes
    """Fields for the worker, rendered; secret, as `pass` may be among them."""
    destination: Destination | None
    """What has to be decided at each login and belongs behind `words`."""
    approach: Approach | None
    """The backend, if proxied; `destination`, if there is one, has the last word about host and port."""
    addresses: str
    """Those of the backend, split by commas, unless there is a `destination`."""
    fault: str
    """Why the row cannot be used, for the log, without anything secret; empty if it can."""


def read_row(row: Row, default_scheme: str) -> Account:
    """Work out what a row means; whatever is wrong with it becomes the account's `fault`."""
    fields = {k: v for k, v in row.fields.items() if v or k not in _EMPTY_IS_ABSENT}
    fault, words, destination = "", b"", None
    approach, addresses = None, ""
    try:
        sent, destination = _sent(fields)
        words = render_words(sent)
        if "proxy" in sent:
            approach = approach_of(sent)
            addresses = sent.get("hostip") or approach.host
        fields.get("user", "").encode("utf-8", "surrogateescape")
    except BadField as problem:
        fault = str(problem)
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
        forwards_typed=is_proxied(fields) and "pass" not in fields,
        relays_token_of=_token_mechanism(fields),
        allow_nets=fields.get("allow_nets", ""),
        words=words,
        destination=destination,
        approach=approach,
        addresses=addresses,
        fault=fault,
    )


def _sent(fields: dict[str, str]) -> tuple[dict[str, str], Destination | None]:
    """Return what the worker is sent, and what is left to decide. Raises BadField."""
    for name in _TO_BACKEND:
        value = fields.get(name, "")
        if "\r" in value or "\n" in value or "\0" in value:
            raise BadField(f"field '{name}' has a CR, LF or NUL in it")
    sent = {k: v for k, v in fields.items() if k not in _KEPT_HERE and not k.startswith("userdb_")}
    if "nologin" in sent:
        sent["nologin"] = ""
    return read_target(sent) if is_proxied(sent) else (sent, None)


def _token_mechanism(fields: dict[str, str]) -> str:
    """Return the `proxy_mech` that is sure to have a backend look at the client's own token.

    With `pass` the backend would look at that one, and with `proxy_maybe` perhaps there is no backend: then
    anybody could come in with any token.
    """
    if "proxy" not in fields or "proxy_maybe" in fields or "pass" in fields:
        return ""
    return fields.get("proxy_mech", "").upper()


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
