"""The file that is kept about relays while no process has them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc.stored_relays import StoredRelay, parse_stored, render_stored

INODES = st.tuples(st.integers(0, 1 << 64), st.integers(0, 1 << 64))
HELD = st.lists(st.binary(max_size=50), max_size=2).map(tuple)
RELAYS = st.lists(st.builds(StoredRelay, st.text(), INODES, HELD, st.binary(max_size=200)), max_size=5)


@given(RELAYS)
def test_relays_round_trip(relays: list[StoredRelay]) -> None:
    assert parse_stored(render_stored(relays)) == relays


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(rest: bytes) -> None:
    """V14: whatever a store gives back."""
    with contextlib.suppress(PeerViolation):
        parse_stored(b"mailproxy relays 1\n" + rest)


def test_a_file_that_was_cut_is_refused() -> None:
    """None of its relays can be trusted."""
    relay = StoredRelay("imap", (1, 2), (b"held",), b"packet")
    whole = render_stored([relay])
    first = whole.index(b"\n") + 1
    for size in range(first + 1, len(whole)):
        with pytest.raises(PeerViolation):
            parse_stored(whole[:size])


@pytest.mark.parametrize(
    "facts",
    [
        b"[]",
        b'{"protocol": "imap", "sockets": [1], "held": []}',
        b'{"protocol": "imap", "sockets": [1, "2"], "held": []}',
        b'{"protocol": 1, "sockets": [1, 2], "held": []}',
        b'{"protocol": "imap", "sockets": [1, 2], "held": [-5]}',
    ],
)
def test_malformed_records_are_refused(facts: bytes) -> None:
    head = len(facts).to_bytes(4, "big") + (0).to_bytes(4, "big")
    with pytest.raises(PeerViolation, match="malformed record"):
        parse_stored(b"mailproxy relays 1\n" + head + facts)


def test_another_format_is_refused() -> None:
    with pytest.raises(PeerViolation, match="not a file of relays"):
        parse_stored(b"mailproxy relays 2\n")
