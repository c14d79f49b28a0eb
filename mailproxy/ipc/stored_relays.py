"""What is kept about relays while no process has them: all in one file, their sockets beside it.

A first line names the format. Then comes a record for each: two sizes, a JSON object, the packet, and the
bytes of its pipes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import NamedTuple

from mailproxy.base.errors import PeerViolation

# Raise it when a file of before can no longer be read.
_FIRST_LINE = b"mailproxy relays 1\n"
_SIZES = struct.Struct("!II")
_RELAY_SOCKETS = 2


class StoredRelay(NamedTuple):
    """A relay's packet as `ipc.handover` has it, and how its descriptors are found again."""

    protocol: str
    sockets: tuple[int, ...]
    """The inodes of the client's and the backend's."""
    held: tuple[bytes, ...]
    """For each pipe that came along, what was in it."""
    packet: bytes


def render_stored(relays: Iterable[StoredRelay]) -> bytes:
    """Return the file."""
    parts = [_FIRST_LINE]
    for relay in relays:
        sizes = [len(held) for held in relay.held]
        facts = json.dumps({"protocol": relay.protocol, "sockets": relay.sockets, "held": sizes}).encode()
        parts += [_SIZES.pack(len(facts), len(relay.packet)), facts, relay.packet, *relay.held]
    return b"".join(parts)


def parse_stored(data: bytes) -> list[StoredRelay]:
    """Read the file. Raises PeerViolation for anything malformed, or another format."""
    if not data.startswith(_FIRST_LINE):
        raise PeerViolation("not a file of relays")
    relays, at = [], len(_FIRST_LINE)
    while at < len(data):
        relay, at = _parse_one(data, at)
        relays.append(relay)
    return relays


def _parse_one(data: bytes, at: int) -> tuple[StoredRelay, int]:
    """Read the record that begins at `at`; returns where the next one does."""
    try:
        facts_bytes, packet_bytes = _SIZES.unpack_from(data, at)
        facts_at = at + _SIZES.size
        facts = json.loads(data[facts_at : facts_at + facts_bytes])
        protocol, sockets, sizes = facts["protocol"], facts["sockets"], facts["held"]
        numbers = [*sockets, *sizes]
        if (
            isinstance(protocol, str)
            and len(sockets) == _RELAY_SOCKETS
            and all(isinstance(number, int) and number >= 0 for number in numbers)
        ):
            pieces, at = [], facts_at + facts_bytes
            for size in (packet_bytes, *sizes):
                pieces.append(data[at : at + size])
                at += size
            if at <= len(data):
                return StoredRelay(protocol, tuple(sockets), tuple(pieces[1:]), pieces[0]), at
    except (struct.error, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise PeerViolation("malformed record of a relay")
