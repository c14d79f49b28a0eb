"""IMAP commands before login (RFC 3501 section 9): framing first, grammar second.

Framing knows one thing: a line that ends in `{n}` or `{n+}` is followed by n bytes of data, whatever the
verdict on the command will be. So data never runs as a command, not even behind a command that is unknown.
A count that is no number of 32 bits announces nothing, and the line is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from mailproxy.base.limits import ID_PAIRS, IMAP_LINE_BYTES, IMAP_LITERALS_BYTES, SASL_LINE_BYTES
from mailproxy.proto.frontend import INPUT_FULL, ClientViolation
from mailproxy.proto.imap import texts
from mailproxy.proto.linebuf import LineBuffer, LineTooLong

TAG_BYTES = 64
# The largest initial response has to fit behind tag, AUTHENTICATE and the mechanism's name.
LINE_BYTES = max(IMAP_LINE_BYTES, SASL_LINE_BYTES + TAG_BYTES + 64)
ID_KEY_BYTES = 30
ID_VALUE_BYTES = 1024

# A tag is made of ASTRING-CHARs without `+`.
_TAG_PATTERN = rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]{1,%d}" % TAG_BYTES
_TAG = re.compile(_TAG_PATTERN)
_ATOM_PATTERN = rb'[^\x00-\x20\x7f-\xff(){"]+'
_STRING = re.compile(rb'"((?:[^"\\\x00\r\n]|\\[^\x00\r\n])*)"|(%s)' % _ATOM_PATTERN)
# A whole LOGIN as nearly every client sends it: neither literal, nor escape, nor NIL.
_PLAIN_STRING = rb' (?:"([^"\\\x00\r\n]*)"|(?![Nn][Ii][Ll][ \r\n])(%s))' % _ATOM_PATTERN
_PLAIN_LOGIN = re.compile(
    rb"(%s) [Ll][Oo][Gg][Ii][Nn]%s%s\r?\n" % (_TAG_PATTERN, _PLAIN_STRING, _PLAIN_STRING)
)
_PLAIN_LOGIN_BYTES = 1024
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
# Only ASCII digits: int() alone would take signs, blanks, underscores and the digits of other scripts.
_LITERAL = re.compile(rb"\{([0-9]{1,10})(\+?)\}")
_SPACE = 32

Argument = bytes | None
"""None is the atom NIL."""


class SyntaxFault(Exception):
    """A command that cannot be read; `text` is for the client and quotes nothing of it."""

    def __init__(self, text: bytes = texts.BAD_COMMAND) -> None:
        super().__init__(text)
        self.text = text


class RawCommand(NamedTuple):
    """A framed command: its lines without their ends, and the literals between them."""

    lines: list[bytes]
    literals: list[bytes]


class CommandReader:
    """Frames the commands in a buffer and asks for literals; holds one command, bounded by the limits."""

    __slots__ = ("_buffer", "_line_budget", "_literal_budget", "_literals", "_send", "_wanted", "lines")

    def __init__(self, buffer: LineBuffer, send: Callable[[bytes], None]) -> None:
        self._buffer = buffer
        self._send = send
        self.lines: list[bytes] = []
        """Those of the command that is under way; none between two commands."""
        self._literals: list[bytes] = []
        self._wanted = -1
        self._line_budget = LINE_BYTES
        self._literal_budget = IMAP_LITERALS_BYTES

    def next_command(self) -> RawCommand | None:
        """Take a command, or None if more bytes are needed. Raises ClientViolation past a limit."""
        buffer = self._buffer
        while True:
            if self._wanted >= 0:
                literal = buffer.take(self._wanted)
                if literal is None:
                    return None
                self._literals.append(literal)
                self._wanted = -1
            try:
                line = buffer.next_line(self._line_budget)
            except LineTooLong:
                raise ClientViolation(texts.INPUT_FULL, INPUT_FULL) from None
            if line is None:
                return None
            if line[-1:] != b"}" and not self.lines:
                return RawCommand([line], [])
            self.lines.append(line)
            self._line_budget -= len(line)
            if not self._expect_literal(line):
                command = RawCommand(self.lines, self._literals)
                self.lines, self._literals = [], []
                self._line_budget, self._literal_budget = LINE_BYTES, IMAP_LITERALS_BYTES
                return command

    def _expect_literal(self, line: bytes) -> bool:
        found = _LITERAL.fullmatch(line, max(0, line.rfind(b"{")))
        if found is None or (size := int(found[1])) >= 1 << 32:
            return False
        self._literal_budget -= size
        if self._literal_budget < 0:
            # Refusing with BAD would leave it to the client whether the bytes still come.
            raise ClientViolation(texts.LITERAL_TOO_LARGE, "Literal size too large")
        self._wanted = size
        if not found[2]:
            self._send(texts.CONTINUE)
        return True


def read_plain_login(buffer: LineBuffer) -> tuple[bytes, bytes, bytes] | None:
    """Take tag, user and password if all that waits is one LOGIN without literals and escapes.

    Such is nearly every login, and one match reads it in a third of the time of the steps that read any
    command. None, with nothing taken, for everything else.
    """
    found = buffer.take_match(_PLAIN_LOGIN, _PLAIN_LOGIN_BYTES)
    if found is None:
        return None
    tag, user, user_atom, password, password_atom = found.groups()
    return tag, user if user_atom is None else user_atom, password if password_atom is None else password_atom


def split_command(line: bytes) -> tuple[bytes, bytes, int]:
    """Return tag, upper-case name and the place behind it; the tag is empty if it may not be echoed."""
    tag, _, rest = line.partition(b" ")
    if _TAG.fullmatch(tag) is None:
        return b"", b"", 0
    name = rest.partition(b" ")[0]
    return tag, name.upper(), len(tag) + 1 + len(name)


def parse_arguments(command: RawCommand, start: int) -> list[Argument]:
    """Read the strings of a command from `start` of its first line on. Raises SyntaxFault."""
    lines, literals = command
    arguments: list[Argument] = []
    if not literals:
        line = lines[0]
        _parse_span(line, start, len(line), arguments)
        return arguments
    for line, literal in zip(lines, literals, strict=False):
        end = line.rindex(b"{")
        if end <= start or line[end - 1] != _SPACE or b"\0" in literal:
            raise SyntaxFault
        _parse_span(line, start, end - 1, arguments)
        arguments.append(literal)
        start = 0
    _parse_span(lines[-1], 0, len(lines[-1]), arguments)
    return arguments


def _parse_span(line: bytes, at: int, end: int, arguments: list[Argument]) -> None:
    while at < end:
        if line[at] != _SPACE:
            raise SyntaxFault(_fault_at(line, at))
        found = _STRING.match(line, at + 1, end)
        if found is None:
            if not line[at:end].strip(b" "):
                return  # blanks at the end of a line do no harm
            raise SyntaxFault(_fault_at(line, at + 1))
        value: Argument = found[found.lastindex or 0]
        if found.lastindex == 2:
            if len(found[2]) == 3 and found[2].upper() == b"NIL":
                value = None
        elif b"\\" in found[1]:
            value = _ESCAPED.sub(rb"\1", found[1])
        arguments.append(value)
        at = found.end()


def _fault_at(line: bytes, at: int) -> bytes:
    byte = line[at]
    if byte == b'"'[0]:
        return texts.MISSING_QUOTE
    if byte == b"{"[0]:
        return texts.BAD_LITERAL
    return texts.EIGHT_BIT_ATOM if byte > 127 else texts.BAD_ATOM


def parse_id(command: RawCommand, start: int) -> dict[bytes, bytes]:
    """Read the parameters of ID, `NIL` or one flat list of pairs (RFC 2971). Raises SyntaxFault.

    Names are returned in lower case; pairs whose value is NIL are left out.
    """
    lines = list(command.lines)
    parameters = lines[0][start:]
    if parameters.upper().strip(b" ") == b"NIL":
        return {}
    if parameters[:2] != b" (" or lines[-1][-1:] != b")":
        raise SyntaxFault
    # Without its parentheses the list is a row of strings, and any other parenthesis is a fault.
    lines[0] = b" " + parameters[2:]
    lines[-1] = lines[-1][:-1]
    words = parse_arguments(RawCommand(lines, command.literals), 0)
    if len(words) % 2 or len(words) > 2 * ID_PAIRS:
        raise SyntaxFault(texts.BAD_ID)
    pairs = {}
    for key, value in zip(words[::2], words[1::2], strict=True):
        if key is None or len(key) > ID_KEY_BYTES or len(value or b"") > ID_VALUE_BYTES:
            raise SyntaxFault(texts.BAD_ID)
        if value is not None:
            pairs[key.lower()] = value
    return pairs
