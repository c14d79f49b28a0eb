"""What a version of the service tells the next one: its masters each other, and its workers about a relay.

Each packet names its version and carries one JSON object, so that a later version can add a field and still
be understood; the bytes of a relay follow it. Descriptors come beside the packet.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from mailproxy.base.errors import PeerViolation

# Raise it when a relay of before can no longer be understood. Relays are handed over between equals alone.
RELAY_VERSION = 1
# Raise it when masters can no longer understand each other at all.
_MASTERS_VERSION = 1

PACKET_BYTES = 1 << 17
"""No packet is larger."""

_RELAY_HEAD = struct.Struct("!BIII")
Facts = dict[str, Any]


class HandedRelay(NamedTuple):
    """A relay without its descriptors: whose it is, and for each way the facts and the bytes that wait."""

    info: Facts
    up: Facts
    down: Facts
    up_pending: bytes
    down_pending: bytes


def render_relay(relay: HandedRelay) -> bytes:
    """Return the packet for a relay."""
    facts = json.dumps({"info": relay.info, "up": relay.up, "down": relay.down}).encode()
    sizes = len(facts), len(relay.up_pending), len(relay.down_pending)
    return _RELAY_HEAD.pack(RELAY_VERSION, *sizes) + facts + relay.up_pending + relay.down_pending


def parse_relay(packet: bytes) -> HandedRelay:
    """Read a relay's packet. Raises PeerViolation for anything malformed, or another version."""
    try:
        version, *sizes = _RELAY_HEAD.unpack_from(packet)
        if version == RELAY_VERSION and _RELAY_HEAD.size + sum(sizes) == len(packet):
            facts_end = _RELAY_HEAD.size + sizes[0]
            up_end = facts_end + sizes[1]
            facts = json.loads(packet[_RELAY_HEAD.size : facts_end])
            info, up, down = facts["info"], facts["up"], facts["down"]
            if isinstance(info, dict) and isinstance(up, dict) and isinstance(down, dict):
                return HandedRelay(info, up, down, packet[facts_end:up_end], packet[up_end:])
    except (struct.error, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise PeerViolation("malformed relay packet")


def render_word(word: str, **facts: object) -> bytes:
    """Return the packet by which one master tells the other something.

    Old to new: *offer* (base_dir, auth_paths; with the pid file's descriptor, then those of the listeners),
    *yours* (from now on), *stop*. New to old: *ready* (relay_version, auth_paths, protocols; with one
    descriptor for the relays of each), *refused* (problems); later *reopen* (log files), *end* (sessions).
    """
    return json.dumps({"version": _MASTERS_VERSION, "word": word, **facts}).encode()


def parse_word(packet: bytes) -> tuple[str, Facts]:
    """Read a master's packet. Raises PeerViolation for anything malformed, or another version."""
    try:
        facts = json.loads(packet)
        if isinstance(facts, dict) and facts.get("version") == _MASTERS_VERSION:
            word = facts.get("word")
            if isinstance(word, str):
                return word, facts
    except (ValueError, RecursionError):
        pass
    raise PeerViolation("malformed packet of the other master")


def text_list(facts: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts out of a master's packet. Raises PeerViolation."""
    found = facts.get(name)
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return found
    raise PeerViolation(f"malformed {name} of the other master")
