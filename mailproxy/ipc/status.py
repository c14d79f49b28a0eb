"""Fixed-size messages between the master and its children, one per packet of a SOCK_SEQPACKET pair."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from mailproxy.base.errors import PeerViolation

# Raise on every change: old workers of an earlier version may still be connected during an upgrade.
VERSION = 1
_STATUS = struct.Struct("!BBII")
_ORDER = struct.Struct("!BB")


class State(IntEnum):
    """What a child can do for new clients. READY of auth is LISTENING."""

    LISTENING = 0
    FULL_WITH_LOGINS = 1
    FULL = 2


class Order(IntEnum):
    """What the master asks of a child."""

    RETIRE = 1
    """Stop accepting; finish what you have, then exit."""
    DROP_OLDEST_LOGIN = 2
    """End the client that has been logging in for longest."""
    LISTEN_ANYWAY = 3
    """Accept again although full, at the cost of the oldest client that has not logged in."""


class Status(NamedTuple):
    """A child's report: sent first when it is ready, then at each change of state."""

    state: State
    sessions: int
    relays: int


def render_status(status: Status) -> bytes:
    """Return the packet for `status`."""
    return _STATUS.pack(VERSION, status.state, status.sessions, status.relays)


def parse_status(packet: bytes) -> Status:
    """Read a child's packet. Raises PeerViolation for any other length, version or state."""
    try:
        version, state, sessions, relays = _STATUS.unpack(packet)
        if version == VERSION:
            return Status(State(state), sessions, relays)
    except (struct.error, ValueError):
        pass
    raise PeerViolation("malformed status packet")


def render_order(order: Order) -> bytes:
    """Return the packet for `order`."""
    return _ORDER.pack(VERSION, order)


def parse_order(packet: bytes) -> Order:
    """Read the master's packet. Raises PeerViolation for anything unknown."""
    try:
        version, order = _ORDER.unpack(packet)
        if version == VERSION:
            return Order(order)
    except (struct.error, ValueError):
        pass
    raise PeerViolation("malformed order packet")
