"""POP3 commands before login (RFC 1939): a word, one space, and the rest byte for byte."""

from __future__ import annotations

from mailproxy.base.limits import POP3_LINE_BYTES, SASL_LINE_BYTES
from mailproxy.proto.frontend import INPUT_FULL, ClientViolation
from mailproxy.proto.linebuf import LineBuffer, LineTooLong
from mailproxy.proto.pop3 import texts

# Room for the word AUTH and a mechanism's name before the largest initial response.
AUTH_LINE_BYTES = SASL_LINE_BYTES + 64


def next_line(buffer: LineBuffer, is_sasl: bool = False) -> bytes | None:
    """Take a command line, or a line of a SASL exchange. Raises ClientViolation if it is too long."""
    try:
        return buffer.next_line(SASL_LINE_BYTES + 1 if is_sasl else POP3_LINE_BYTES)
    except LineTooLong:
        if not is_sasl and buffer.begins_with(b"AUTH "):
            return _next_auth_line(buffer)
        raise ClientViolation(texts.INPUT_FULL, INPUT_FULL) from None


def _next_auth_line(buffer: LineBuffer) -> bytes | None:
    try:
        return buffer.next_line(AUTH_LINE_BYTES)
    except LineTooLong:
        raise ClientViolation(texts.INPUT_FULL, INPUT_FULL) from None


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """Return the upper-case command and everything behind one space: a password may begin with another."""
    word, _, rest = line.partition(b" ")
    return word.upper(), rest
