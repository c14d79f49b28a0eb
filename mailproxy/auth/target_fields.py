"""The fields of a row that say where a proxied user goes and how: checked, and brought to one spelling.

Pure; names are not resolved here. Sources: Dovecot 1.0 (`host`, `port`), Dovecot 2 (the others); a list of
servers in `host`, and `proxy_balance`, are ours.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from mailproxy.base.text import printable
from mailproxy.config.settings import BALANCES

_SERVERS = 16
_NAME_BYTES = 253
_LABEL_BYTES = 63
_TIMEOUT_MS = 86_400_000

_FLAGS = ("proxy", "proxy_maybe", "proxy_always", "proxy_not_trusted", "proxy_nopipelining")
# What `place` works out; a row cannot say it itself.
_OURS = ("host", "hostip", "port", "proxy_balance", "proxy_alternatives")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_MECHANISM = re.compile(r"[A-Za-z0-9_-]{1,20}")
_TIME = re.compile(r"([0-9]{1,8}) *([A-Za-z]*)")
_UNITS_MS = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1000),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000),
}


class BadField(Exception):
    """A field that cannot be used; the text is for the log and holds nothing secret."""


class Server(NamedTuple):
    """One server of `host`."""

    host: str
    """An address in its usual spelling, or a name."""
    port: str
    """Empty for the worker's default."""
    is_name: bool


class Destination(NamedTuple):
    """Where a user goes whose row leaves something open: names to resolve, or servers to choose from."""

    servers: tuple[Server, ...]
    """At least one, in the order of the row, each once."""
    balance: str
    """One of BALANCES; empty when the row leaves it to the setting."""
    source_ip: str
    """The local address, whose family is the only one that can be used; or empty."""
    has_tls_port: bool
    """Whether the default port is the one where TLS comes first."""


class Approach(NamedTuple):
    """How a worker gets to a backend: all that decides what it is told there before a login."""

    host: str
    """Whose certificate is expected: an address or a name."""
    port: str
    """Empty for the default."""
    tls: str
    """`yes` or `any-cert`; empty for none."""
    is_starttls: bool
    source_ip: str
    has_header: bool
    """Whether a header of the PROXY protocol comes first."""

    @property
    def has_tls_port(self) -> bool:
        """Whether TLS comes first."""
        return bool(self.tls) and not self.is_starttls


def approach_of(sent: Mapping[str, str]) -> Approach:
    """Return it from the fields that the worker is sent."""
    starttls = sent.get("starttls", "")
    return Approach(
        sent.get("host", ""),
        sent.get("port", ""),
        starttls or sent.get("ssl", ""),
        bool(starttls),
        sent.get("source_ip", ""),
        "haproxy" in sent,
    )


def is_proxied(fields: dict[str, str]) -> bool:
    """Whether presence of a field asks for a proxied login."""
    return "proxy" in fields or "proxy_maybe" in fields or "proxy_always" in fields


def read_target(fields: dict[str, str]) -> tuple[dict[str, str], Destination | None]:
    """Return the fields that the worker is sent, and what is left to decide at each login, if anything.

    Takes the fields of a proxied row without empty ones. Raises BadField.
    """
    sent = {name: value for name, value in fields.items() if name not in _OURS}
    sent.setdefault("proxy", "")
    for name in _FLAGS:
        # Their values mean nothing (`proxy` = 'N' is on as well), so nobody may be misled by them.
        if name in sent:
            sent[name] = ""
    for name, read in _READERS.items():
        if name in sent:
            value = read(name, sent.pop(name))
            if value:
                sent[name] = value
    return _place(fields, sent)


def _place(fields: dict[str, str], sent: dict[str, str]) -> tuple[dict[str, str], Destination | None]:
    servers = parse_servers(fields.get("host", ""), _port("port", fields.get("port", "")))
    balance = fields.get("proxy_balance", "")
    if balance and balance not in BALANCES:
        raise BadField(f"field 'proxy_balance' is not one of {', '.join(BALANCES)}: {printable(balance)}")
    first, source_ip = servers[0], sent.get("source_ip", "")
    addresses = _given_addresses(fields.get("hostip", ""), servers)
    if not addresses and (first.is_name or len(servers) > 1):
        return sent, Destination(servers, balance, source_ip, "ssl" in sent and "starttls" not in sent)
    usable = of_family(addresses or (first.host,), source_ip)
    if not usable:
        raise BadField("field 'source_ip' is of another IP family than the address of the host")
    # Field by field in the usual order, for whoever reads the log.
    placed = {"proxy": "", "host": first.host}
    if first.is_name:
        placed["hostip"] = ",".join(usable)
    if first.port:
        placed["port"] = first.port
    return placed | sent, None


def _given_addresses(hostip: str, servers: tuple[Server, ...]) -> tuple[str, ...]:
    """Read `hostip`, addresses split by commas, which spares the DNS and must not contradict `host`."""
    words = hostip.replace(",", " ").split()
    if not words:
        return ()
    if len(servers) > 1:
        raise BadField("field 'hostip' needs one server in field 'host'")
    addresses = tuple(dict.fromkeys(_address("hostip", word) for word in words))
    if not servers[0].is_name and addresses != (servers[0].host,):
        raise BadField("fields 'host' and 'hostip' are different addresses")
    return addresses


# Backends are few, and to parse an address takes as long as all the rest of a row.
@lru_cache(maxsize=1024)
def parse_servers(host: str, default_port: str) -> tuple[Server, ...]:
    """Read `name[:port]`, `address[:port]`, `[v6]:port` or a bare IPv6 address, split by commas.

    Blanks around a server and empty places are ignored, a server that comes twice counts once. Raises
    BadField.
    """
    items = [item.strip(" ") for item in host.split(",")]
    servers = tuple(dict.fromkeys(_server(item, default_port) for item in items if item))
    if not servers:
        raise BadField("field 'proxy' is set but field 'host' is missing or empty")
    if len(servers) > _SERVERS:
        raise BadField(f"field 'host' has more than {_SERVERS} servers")
    return servers


def _server(item: str, default_port: str) -> Server:
    address = canonical_ip(item)
    if address:
        return Server(address, default_port, False)
    host, colon, written = item.partition(":")
    if item.startswith("["):
        host, bracket, rest = item[1:].partition("]")
        colon, written = rest[:1], rest[1:]
        if not bracket or ":" not in host or colon not in ("", ":"):
            raise _bad_host(item)
    if colon and not written:
        raise _bad_host(item)
    port = _port("host", written) or default_port
    address = canonical_ip(host)
    if address:
        return Server(address, port, False)
    if not is_host_name(host):
        raise _bad_host(item)
    return Server(host, port, True)


def _bad_host(item: str) -> BadField:
    return BadField(f"field 'host' is not an IP address or a host name: {printable(item, _NAME_BYTES)}")


def is_host_name(text: str) -> bool:
    """Whether a text may be asked of DNS: it cannot be an address with a slip in it."""
    labels = text.split(".")
    return (
        _NAME.fullmatch(text) is not None
        and len(text) <= _NAME_BYTES
        and all(0 < len(label) <= _LABEL_BYTES for label in labels)
        and not labels[-1].isdigit()
    )


def of_family(addresses: tuple[str, ...], source_ip: str) -> tuple[str, ...]:
    """Return the addresses that can be reached from `source_ip`; all of them if that is empty."""
    if not source_ip:
        return addresses
    return tuple(address for address in addresses if (":" in address) == (":" in source_ip))


def canonical_ip(text: str) -> str:
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


def _address(name: str, value: str) -> str:
    address = canonical_ip(value)
    if not address:
        raise BadField(f"field '{name}' is not an IP address: {printable(value)}")
    return address


def _port(name: str, value: str) -> str:
    if value and not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536):
        raise BadField(f"field '{name}': port is not a number from 1 to 65535: {printable(value)}")
    return value


def _tls(name: str, value: str) -> str:
    if value not in ("yes", "any-cert", "no", ""):
        raise BadField(f"field '{name}' is not 'yes' or 'any-cert': {printable(value)}")
    return "" if value == "no" else value


def _yes(name: str, value: str) -> str:
    if value not in ("yes", "no", ""):
        raise BadField(f"field '{name}' is not 'yes' or 'no': {printable(value)}")
    return "" if value == "no" else value


def _timeout(name: str, value: str) -> str:
    """Return seconds as a decimal number, empty for 0, which is the worker's default."""
    seconds = _seconds(name, value)
    return "" if seconds == "0" else seconds


def _seconds(name: str, value: str) -> str:
    match = _TIME.fullmatch(value.strip(" "))
    unit_ms = _UNITS_MS.get(match[2].lower()) if match is not None else None
    if match is None or unit_ms is None:
        raise BadField(f"field '{name}' is not seconds, nor a number with a unit: {printable(value)}")
    total_ms = int(match[1]) * unit_ms
    if total_ms > _TIMEOUT_MS:
        raise BadField(f"field '{name}' is longer than a day: {printable(value)}")
    seconds, rest_ms = divmod(total_ms, 1000)
    return f"{seconds}.{rest_ms:03d}".rstrip("0").rstrip(".") if rest_ms else str(seconds)


def _mechanism(name: str, value: str) -> str:
    if value and not _MECHANISM.fullmatch(value):
        raise BadField(f"field '{name}' is not the name of a SASL mechanism: {printable(value)}")
    return value.upper()


_READERS: dict[str, Callable[[str, str], str]] = {
    "ssl": _tls,
    "starttls": _tls,
    "haproxy": _yes,
    "proxy_timeout": _timeout,
    "proxy_host_immediate_failure_after": _seconds,
    "source_ip": _address,
    "proxy_mech": _mechanism,
}
