from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.proto.linebuf import LineBuffer, LineTooLong

LIMIT = 100


def lines(*pieces: bytes) -> list[bytes]:
    buffer = LineBuffer()
    found = []
    for piece in pieces:
        buffer.feed(piece)
        while (line := buffer.next_line(LIMIT)) is not None:
            found.append(line)
    return found


def test_lf_and_crlf_end_a_line() -> None:
    assert lines(b"a\nb\r\n\r\n\nc") == [b"a", b"b", b"", b""]


@pytest.mark.parametrize("end", [b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xe2\x80\xa8"])
def test_nothing_else_does(end: bytes) -> None:
    """P13: what Python's splitlines would split at is data."""
    assert lines(b"a" + end + b"b\r\n") == [b"a" + end + b"b"]


def test_only_one_cr_belongs_to_the_end() -> None:
    """P13: CRCRLF leaves a CR in the line."""
    assert lines(b"a\r\r\n") == [b"a\r"]


def test_the_limit_is_met_at_the_same_byte_however_cut() -> None:
    """P02: whole or byte by byte, with or without the line's end."""
    assert lines(b"x" * LIMIT + b"\n") == [b"x" * LIMIT]
    assert lines(*[b"x"] * LIMIT, b"\n") == [b"x" * LIMIT]
    for pieces in (
        [b"x" * (LIMIT + 1)],
        [b"x"] * (LIMIT + 1),
        [b"x" * (LIMIT + 1) + b"\n"],
        [b"x" * LIMIT, b"\r\n"],
    ):
        with pytest.raises(LineTooLong):
            lines(*pieces)


@given(st.binary(max_size=300), st.integers(1, 20))
def test_lines_do_not_depend_on_the_cut(data: bytes, size: int) -> None:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    results: list[list[bytes] | None] = []
    for cut in ([data], pieces):
        try:
            results.append(lines(*cut))
        except LineTooLong:
            results.append(None)
    assert results[0] == results[1]


def test_take_counts_bytes_and_then_lines_go_on() -> None:
    buffer = LineBuffer()
    buffer.feed(b"ab\nc")
    assert buffer.take(5) is None
    assert buffer.take(0) == b""
    assert buffer.take(2) == b"ab"
    assert buffer.next_line(LIMIT) == b""
    assert buffer.next_line(LIMIT) is None
    assert buffer.take_rest() == b"c"
    assert len(buffer) == 0


def test_rest_is_taken_once_after_a_search() -> None:
    buffer = LineBuffer()
    buffer.feed(b"half a line")
    assert buffer.next_line(LIMIT) is None
    assert buffer.take_rest() == b"half a line"
    assert buffer.take_rest() == b""
    buffer.feed(b"x\n")
    assert buffer.next_line(LIMIT) == b"x"


def test_begins_with_ignores_case() -> None:
    buffer = LineBuffer()
    buffer.feed(b"auTH x")
    assert buffer.begins_with(b"AUTH ")
    assert not buffer.begins_with(b"AUTHX")


def test_byte_by_byte_stays_linear() -> None:
    """X13: 8 KiB in single bytes cost under 50 ms of CPU."""
    buffer = LineBuffer()
    began = time.process_time()
    for _ in range(8192):
        buffer.feed(b"x")
        assert buffer.next_line(8192) is None
    assert time.process_time() - began < 0.05
