from __future__ import annotations

import pytest

from mailproxy.base.limits import POP3_LINE_BYTES, SASL_LINE_BYTES
from mailproxy.proto.frontend import ClientViolation
from mailproxy.proto.linebuf import LineBuffer
from mailproxy.proto.pop3.parser import next_line, split_command


@pytest.mark.parametrize(
    ("line", "word", "rest"),
    [
        (b"user john", b"USER", b"john"),
        (b"PASS  a  b ", b"PASS", b" a  b "),
        (b"PASS ", b"PASS", b""),
        (b"PASS", b"PASS", b""),
        (b" PASS x", b"", b"PASS x"),
        (b"PASS\tx", b"PASS\tX", b""),
    ],
)
def test_split_command(line: bytes, word: bytes, rest: bytes) -> None:
    """P18: exactly one blank separates, the rest is kept byte for byte."""
    assert split_command(line) == (word, rest)


def waiting(data: bytes) -> LineBuffer:
    buffer = LineBuffer()
    buffer.feed(data)
    return buffer


def test_limits() -> None:
    """P02 P03: an ordinary line, AUTH with its initial response, a line of the exchange."""
    assert next_line(waiting(b"x" * (POP3_LINE_BYTES - 1) + b"\r\n")) == b"x" * (POP3_LINE_BYTES - 1)
    long = b"A" * SASL_LINE_BYTES
    assert next_line(waiting(b"auth plain " + long + b"\r\n")) == b"auth plain " + long
    assert next_line(waiting(long + b"\r\n"), is_sasl=True) == long


@pytest.mark.parametrize(
    ("data", "is_sasl"),
    [
        (b"x" * (POP3_LINE_BYTES + 1), False),
        (b"AUTHX" + b"x" * POP3_LINE_BYTES, False),
        (b"AUTH PLAIN " + b"A" * (SASL_LINE_BYTES + 100), False),
        (b"A" * (SASL_LINE_BYTES + 2), True),
    ],
)
def test_too_long(data: bytes, is_sasl: bool) -> None:
    """P02: nothing more is read."""
    with pytest.raises(ClientViolation):
        next_line(waiting(data), is_sasl)
