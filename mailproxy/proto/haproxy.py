"""The PROXY protocol, by which a proxy in front says whose connection it passes on (HAProxy's, v1 and v2).

The header is the first thing on a connection, before TLS and before the greeting. Reading it must not take a
byte of what follows, so `parse` says how long it is and the caller takes just that.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

_V1_START = b"PROXY "
_V1_LIMIT_BYTES = 107
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = struct.Struct("!BBH")
_V2_FIXED_BYTES = len(_V2_START) + _V2_FIXED.size
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESS_BYTES = {_TCP4: 4, _TCP6: 16}
LIMIT_BYTES = 4096
"""More than any header with the usual extensions; the sender of a longer one is refused."""


class Endpoints(NamedTuple):
    """Whose connection it is, and where he connected to; addresses are textual."""

    source: str
    source_port: int
    destination: str
    destination_port: int


class Header(NamedTuple):
    """A whole header; no `endpoints` means that the proxy speaks for itself, as in a health check."""

    length_bytes: int
    endpoints: Endpoints | None


def parse(data: bytes) -> Header | None:
    """Read a header from the start of `data`, None while it is incomplete. Raises ValueError."""
    if data.startswith(_V2_START):
        return _parse_v2(data)
    if data.startswith(_V1_START):
        return _parse_v1(data)
    if _V2_START.startswith(data) or _V1_START.startswith(data):
        return None
    raise ValueError("no PROXY header")


def _parse_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, _V1_LIMIT_BYTES)
    if end < 0:
        if len(data) >= _V1_LIMIT_BYTES:
            raise ValueError("PROXY header too long")
        return None
    words = data[:end].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return Header(end + 2, None)
    family = {"TCP4": IPv4Address, "TCP6": IPv6Address}.get(words[1])
    # The library's IPv6 addresses take anything at all for a scope, TAB and LF among it.
    if family is None or len(words) != 6 or b"%" in data[:end]:
        raise ValueError("malformed PROXY header")
    source, destination = str(family(words[2])), str(family(words[3]))
    return Header(end + 2, Endpoints(source, _port(words[4]), destination, _port(words[5])))


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit()) or len(word) > 5 or int(word) > 65535:
        raise ValueError("malformed port in PROXY header")
    return int(word)


def _parse_v2(data: bytes) -> Header | None:
    if len(data) < _V2_FIXED_BYTES:
        return None
    command, family, rest_bytes = _V2_FIXED.unpack_from(data, len(_V2_START))
    length_bytes = _V2_FIXED_BYTES + rest_bytes
    if length_bytes > LIMIT_BYTES:
        raise ValueError("PROXY header too long")
    if len(data) < length_bytes:
        return None
    if command == _LOCAL:
        return Header(length_bytes, None)
    if command != _PROXY:
        raise ValueError("unknown PROXY command")
    address_bytes = _ADDRESS_BYTES.get(family)
    if address_bytes is None:
        return Header(length_bytes, None)
    body = data[_V2_FIXED_BYTES:length_bytes]
    if len(body) < 2 * address_bytes + 4:
        raise ValueError("PROXY header too short")
    source = _text(body[:address_bytes])
    destination = _text(body[address_bytes : 2 * address_bytes])
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * address_bytes)
    return Header(length_bytes, Endpoints(source, source_port, destination, destination_port))


def _text(packed: bytes) -> str:
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def render(endpoints: Endpoints | None) -> bytes:
    """Return a v2 header; addresses of different families go as IPv6. None is for a proxy's own affairs."""
    if endpoints is None:
        return _V2_START + _V2_FIXED.pack(_LOCAL, 0, 0)
    source, destination = ip_address(endpoints.source), ip_address(endpoints.destination)
    if source.version == destination.version == 4:
        family, addresses = _TCP4, source.packed + destination.packed
    else:
        family, addresses = _TCP6, _as_ipv6(endpoints.source) + _as_ipv6(endpoints.destination)
    body = addresses + struct.pack("!HH", endpoints.source_port, endpoints.destination_port)
    return _V2_START + _V2_FIXED.pack(_PROXY, family, len(body)) + body


def _as_ipv6(address: str) -> bytes:
    text = address if ":" in address else f"::ffff:{address}"
    return IPv6Address(text).packed
