"""Packets between the master and its children."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc.status import (
    Order,
    State,
    Status,
    parse_order,
    parse_status,
    render_order,
    render_status,
)

COUNTS = st.integers(0, (1 << 32) - 1)


@given(st.sampled_from(State), COUNTS, COUNTS)
def test_status_round_trips(state: State, sessions: int, relays: int) -> None:
    status = Status(state, sessions, relays)
    assert parse_status(render_status(status)) == status


@pytest.mark.parametrize("order", list(Order))
def test_orders_round_trip(order: Order) -> None:
    arguments = {Order.KICK: [b"joe"], Order.LEAVE: [b"", b"60"]}.get(order, [b""])
    for argument in arguments:
        assert parse_order(render_order(order, argument)) == (order, argument)


@given(st.binary(max_size=64))
def test_any_packet_is_read_or_refused(packet: bytes) -> None:
    """V14: what a captured worker writes does no harm."""
    with contextlib.suppress(PeerViolation):
        assert render_status(parse_status(packet)) == packet
    with contextlib.suppress(PeerViolation):
        assert render_order(*parse_order(packet)) == packet


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x01",
        struct.pack("!BBII", 1, 0, 0, 0),
        struct.pack("!BBII", 3, 4, 0, 0),
        struct.pack("!BBII", 3, 0, 0, 0) + b"x",
        struct.pack("!BBI", 3, 0, 0),
    ],
)
def test_malformed_statuses(packet: bytes) -> None:
    with pytest.raises(PeerViolation, match="malformed status packet"):
        parse_status(packet)


@pytest.mark.parametrize(
    "packet",
    [
        *(b"", b"\x03", b"\x01\x01", b"\x03\x00", b"\x03\xff"),
        b"\x03\x01\x01",  # an argument where there is none
        b"\x03\x06",  # none where there is one
        b"\x03\x06" + b"x" * 257,
        b"\x03\x09soon",
    ],
)
def test_malformed_orders(packet: bytes) -> None:
    with pytest.raises(PeerViolation, match="malformed order packet"):
        parse_order(packet)
