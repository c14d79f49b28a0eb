"""Log lines on their way to the master."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.base.level import Level
from mailproxy.ipc import log_frames


@given(
    st.sampled_from(Level),
    st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" \t"), max_size=200),
)
def test_lines_round_trip(level: Level, text: str) -> None:
    frame = log_frames.render(level, text)
    assert frame.endswith(b"\n")
    assert log_frames.parse(frame[:-1]) == (level, text)


@given(st.sampled_from(Level), st.text())
def test_a_frame_is_one_bounded_line(level: Level, text: str) -> None:
    """S5: no text forges a second record."""
    frame = log_frames.render(level, text)
    assert frame.count(b"\n") == 1
    assert b"\r" not in frame
    assert len(frame) <= log_frames.LINE_BYTES + 3


def test_a_long_text_is_cut_visibly() -> None:
    level, text = log_frames.parse(log_frames.render(Level.INFO, "x" * 5000)[:-1])
    assert (level, len(text), text[-5:]) == (Level.INFO, 1024, "xx...")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Traceback (most recent call last):", "Traceback (most recent call last):"),
        (b"\x01", "\\x01"),
        (b"\x01Zodd", "\\x01Zodd"),
        (b"\x1b[2Jgone\r", "\\x1b[2Jgone\\r"),
        ("\u202enimda \u2028\x85".encode(), "\\u202enimda \\u2028\\x85"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_whatever_is_no_frame_is_an_error_line(line: bytes, expected: str) -> None:
    """V14: from a captured worker too it is one line that an administrator can look at."""
    assert log_frames.parse(line) == (Level.ERROR, expected)


@given(st.binary(max_size=3000))
def test_any_line_is_read(line: bytes) -> None:
    assert len(log_frames.parse(line)[1]) <= log_frames.LINE_BYTES
