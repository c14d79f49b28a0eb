"""%-variables: `%u`, `%2.8Ld`, `%{session}`; parsed once, expanded as data, never twice.

Source: Dovecot 1.0's rules for `%[-][0][offset.][0][width][modifiers]letter`. Different from it: a value
is cut first and escaped last, so that no cut goes through an escape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

AUTH_VARIABLES = frozenset("undshlrpwmc")
"""What queries, paths and user name formats may ask for; `%h` is always empty here."""

LOG_VARIABLES = frozenset({*"undshlrpmcabk$", "session"})
"""What the elements and the format of a login line may ask for."""

LONG_NAMES = {
    "user": "u",
    "username": "n",
    "domain": "d",
    "service": "s",
    "home": "h",
    "lip": "l",
    "local_ip": "l",
    "rip": "r",
    "remote_ip": "r",
    "pid": "p",
    "password": "w",
    "mechanism": "m",
    "secured": "c",
    "lport": "a",
    "rport": "b",
    "session": "session",
}
"""`%{name}` by the key under which its value is found."""

MODIFIERS = frozenset("LUEXRHMD")
MODIFIERS_LIMIT = 10

_ESCAPED = {byte: b"\\" + bytes((byte,)) for byte in b"\"'\\"}


class Variable(NamedTuple):
    """One `%…` of a template. `offset` and `width` count bytes; a width of 0 is no limit."""

    name: str
    """A letter, or a long name that has none."""
    modifiers: str = ""
    offset: int = 0
    width: int = 0
    zeros: bool = False

    def expand(self, values: Mapping[str, str]) -> str:
        """Return the value as this variable wants it; one that is not in `values` is empty."""
        value = values.get(self.name, "") if self.name != "%" else "%"
        if self.modifiers or self.offset or self.width:
            return self._changed(value)
        return value

    def _changed(self, value: str) -> str:
        raw = value.encode("utf-8", "surrogateescape")
        offset, width = self.offset, self.width
        for modifier in self.modifiers:
            if modifier == "H":
                raw, offset, width = _hashed(raw, offset, width), 0, 0
            elif modifier != "E":
                raw = _modified(raw, modifier)
        raw = raw[offset:] if offset >= 0 or len(raw) > -offset else raw
        if width:
            raw = raw.rjust(width, b"0") if self.zeros else raw[:width]
        for _ in range(self.modifiers.count("E")):
            raw = b"".join([_ESCAPED.get(byte) or bytes((byte,)) for byte in raw])
        return raw.decode("utf-8", "surrogateescape")


class Template:
    """A parsed text; made by `parse`, immutable, shared freely between threads."""

    __slots__ = ("_only", "letters", "pieces", "text", "unknown")

    def __init__(self, text: str, pieces: tuple[str | Variable, ...], unknown: tuple[str, ...]) -> None:
        names = [piece.name for piece in pieces if isinstance(piece, Variable)]
        self.text = text
        self.pieces = pieces
        """Literal text and variables, in order; two texts never follow each other."""
        self.letters = tuple(dict.fromkeys(name for name in names if name != "%"))
        """Names of the variables, each once, in the order of their first appearance."""
        self.unknown = unknown
        """Names that are not known, empty for a `%` at the end; all expand to nothing."""
        self._only = names[0] if len(names) == 1 and pieces == (Variable(names[0]),) else ""

    def expand(self, values: Mapping[str, str]) -> str:
        """Return the text with each variable replaced once; replaced text is never read again."""
        if self._only:
            return values.get(self._only, "")
        return "".join([piece if type(piece) is str else piece.expand(values) for piece in self.pieces])  # type: ignore[union-attr]

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def parse(text: str, known: Collection[str] = LOG_VARIABLES | AUTH_VARIABLES) -> Template:
    """Parse `text`; a `%` without a letter at its end vanishes, as in Dovecot."""
    pieces: list[str | Variable] = []
    unknown: dict[str, None] = {}
    literal = ""
    at = 0
    while (percent := text.find("%", at)) >= 0:
        literal += text[at:percent]
        variable, at = _variable(text, percent + 1)
        if variable is None:
            unknown[""] = None
            continue
        if variable == ("%", "", 0, 0, False):
            literal += "%"
        elif variable.name == "%" or variable.name in known:
            if literal:
                pieces.append(literal)
                literal = ""
            pieces.append(variable)
        else:
            unknown[variable.name] = None
    if literal := literal + text[at:]:
        pieces.append(literal)
    return Template(text, tuple(pieces), tuple(unknown))


def _variable(text: str, at: int) -> tuple[Variable | None, int]:
    """Parse what follows a `%`; returns it, or None when the text ended, and where to go on."""
    negative = text.startswith("-", at)
    zeros, number, at = _number(text, at + negative)
    offset = 0
    if text.startswith(".", at):
        offset = -number if negative else number
        zeros, number, at = _number(text, at + 1)
    start = at
    while at < len(text) and at - start < MODIFIERS_LIMIT and text[at] in MODIFIERS:
        at += 1
    modifiers = text[start:at]
    if at >= len(text):
        return None, at
    name = text[at]
    end = text.find("}", at)
    if name == "{" and end > 0:
        name = text[at + 1 : end]
        name, at = LONG_NAMES.get(name, name if len(name) > 1 else f"{{{name}}}"), end
    return Variable(name, modifiers, offset, number, zeros), at + 1


def _number(text: str, at: int) -> tuple[bool, int, int]:
    """Parse `[0]digits`; returns whether it began with a zero, its value, and where to go on."""
    start = at
    while at < len(text) and "0" <= text[at] <= "9":
        at += 1
    digits = text[start:at][:9]
    return digits.startswith("0"), int(digits or "0"), at


def _modified(raw: bytes, modifier: str) -> bytes:
    match modifier:
        case "L":
            return raw.lower()  # of bytes: folds ASCII and nothing else
        case "U":
            return raw.upper()
        case "X":
            digits = raw[: len(raw) - len(raw.lstrip(b"0123456789"))]
            return b"%x" % int(digits[:19] or b"0")
        case "R":
            return raw[::-1]
        case "M":
            return hashlib.md5(raw, usedforsecurity=False).hexdigest().encode()
        case _:
            return raw.replace(b".", b",dc=")


def _hashed(raw: bytes, digits: int, modulo: int) -> bytes:
    value = 0
    for byte in raw:
        value = (value * 16 + byte) & 0xFFFFFFFF
        if high := value & 0xF0000000:
            value ^= (high >> 24) ^ high
    return (b"%x" % (value % modulo if modulo else value)).rjust(digits, b"0")
