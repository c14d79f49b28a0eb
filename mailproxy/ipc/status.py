"""Messages between the master and its children, one per packet of a SOCK_SEQPACKET pair.

What children say has a fixed size. An order may have an argument, and descriptors along with it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from mailproxy.base.errors import PeerViolation

# Raise on every change: old workers of an earlier version may still be connected during an upgrade.
VERSION = 3
_STATUS = struct.Struct("!BBII")
_ORDER = struct.Struct("!BB")
ARGUMENT_BYTES = 256
"""The most that an order says besides itself."""


class State(IntEnum):
    """What a child can do for new clients. READY of auth is LISTENING."""

    LISTENING = 0
    FULL_WITH_LOGINS = 1
    FULL = 2
    STARTING = 3
    """Answers the master, but is not ready yet."""


class Order(IntEnum):
    """What the master asks of a child."""

    RETIRE = 1
    """Stop accepting; finish what you have, then exit."""
    DROP_OLDEST_LOGIN = 2
    """End the client that has been logging in for longest."""
    LISTEN_ANYWAY = 3
    """Accept again although full, at the cost of the oldest client that has not logged in."""
    PING = 4
    """Say your status, to show that your loop turns."""
    WHO = 5
    """Tell the one behind the descriptor whom you carry (`ipc.control`)."""
    KICK = 6
    """End whom the argument names, and tell the one behind the descriptor who that was."""
    EXPLAIN = 7
    """To auth: answer the question that waits in the descriptor."""
    HAND_OVER = 8
    """Stop accepting, and send every plain relay to the one behind the descriptor."""
    LEAVE = 9
    """Stop accepting, and say goodbye to who is still logging in; relays go on.

    With an argument only for so many seconds, which hold without a master too.
    """


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


def render_order(order: Order, argument: bytes = b"") -> bytes:
    """Return the packet for `order`."""
    return _ORDER.pack(VERSION, order) + argument


def parse_order(packet: bytes) -> tuple[Order, bytes]:
    """Read the master's packet: the order and its argument. Raises PeerViolation for anything unknown."""
    try:
        version, order = _ORDER.unpack_from(packet)
        argument = packet[_ORDER.size :]
        fits = bool(argument) == (order == Order.KICK) or (order == Order.LEAVE and argument.isdigit())
        if version == VERSION and fits and len(argument) <= ARGUMENT_BYTES:
            return Order(order), argument
    except (struct.error, ValueError):
        pass
    raise PeerViolation("malformed order packet")
