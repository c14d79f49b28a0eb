"""The tables of settings (`*.configspec`) and the check of each of their types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from configobj import ConfigObj
from validate import ValidateError, Validator, VdtValueTooBigError, VdtValueTooSmallError

from mailproxy.base.text import printable

INT_MAX = 2**31 - 1
MANY = "__many__"
# How like an unknown name a known one must be, from 0 to 1, to be proposed, and how many are at most.
_LIKENESS = 0.75
_PROPOSALS = 2
_NUMBER = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of a table; `ignored` holds the reason why a proxy does not use the setting, empty if it does."""

    name: str
    type: str
    default: str | None
    unit: str
    minimum: int
    process_wide: bool
    ignored: str

    @property
    def allowed(self) -> str:
        """What may be its value, in words."""
        if self.type != "number":
            return {"boolean": "yes or no"}.get(self.type, "any text")
        unit = f" of {self.unit}" if self.unit else ""
        return f"a number{unit}, at least {self.minimum}"


def boolean(value: str, **_table: str) -> bool:
    """Accept `yes` and `no` in any case. Raises ValidateError with Dovecot's text."""
    word = value.lower()
    if word not in ("yes", "no"):
        raise ValidateError(f"Invalid boolean: {printable(value)}")
    return word == "yes"


def number(value: str, min: str = "0", max: str = str(INT_MAX), **_table: str) -> int:
    """Scan like C's `%i`: `0…` is octal, `0x…` is hexadecimal, and what follows the digits is dropped.

    Raises ValidateError with Dovecot's text.
    """
    match = _NUMBER.match(value)
    if not match:
        raise ValidateError(f"Invalid number: {printable(value)}")
    sign, digits = match.groups()
    base = 16 if digits[1:2] in ("x", "X") else 8 if digits[0] == "0" else 10
    found = int(digits, base) if len(digits) < 40 else INT_MAX + 1
    if (sign == "-" and found) or found > INT_MAX:
        raise ValidateError(f"Invalid number: {printable(value)}")
    if found < int(min):
        raise VdtValueTooSmallError(found)
    if found > int(max):
        raise VdtValueTooBigError(found)
    return found


def string(value: str, **_table: str) -> str:
    """Accept anything."""
    return value


def unknown_setting(name: str, known: Iterable[str]) -> str:
    """Say that nobody knows the setting, in Dovecot's words, and which known names are much like it."""
    near = get_close_matches(name, known, _PROPOSALS, _LIKENESS)
    return f"Unknown setting: {printable(name)}" + (f" (did you mean {' or '.join(near)}?)" if near else "")


class Table:
    """One `configspec` file: which settings exist, where, of what type, and what they are when not set."""

    def __init__(self, file_name: str) -> None:
        path = Path(__file__).with_name(file_name)
        self.spec = _read(path)
        self.validator = Validator({"boolean": boolean, "number": number, "string": string})
        self._describer = Validator(
            {kind: _describer(kind) for kind in ("boolean", "number", "string")},
        )

    def section(self, path: tuple[str, ...]) -> Any:
        """Return the part of the table for a section of the tree; odd levels of `path` are its own names."""
        found = self.spec
        for depth, name in enumerate(path):
            found = found[MANY if depth % 2 else name]
        return found

    def has(self, path: tuple[str, ...], name: str) -> bool:
        """Say whether a section of the tree knows the setting."""
        return name in self.section(path).scalars

    def error(self, path: tuple[str, ...], name: str, value: str) -> str:
        """Say what is wrong with the value of a known setting, empty if nothing is."""
        check = self.section(path)[name]
        shown = f"auth_{name}" if path[0] == "auth" and len(path) == 2 else name
        try:
            self.validator.check(check, value)
        except VdtValueTooSmallError:
            return f"{shown} must be at least {self.setting(path, name).minimum}"
        except VdtValueTooBigError:
            return f"{shown} is too large: {printable(value)}"
        except ValidateError as error:
            return f"{error} ({shown} takes {self.setting(path, name).allowed})"
        return ""

    def setting(self, path: tuple[str, ...], name: str) -> Setting:
        """Return the row of a known setting."""
        check = self.section(path)[name]
        words: dict[str, str] = self._describer.check(check, "")
        default = self._describer.get_default_value(check)
        return Setting(
            name=name,
            type=words["type"],
            default=None if default is None else default["value"],
            unit=words.get("unit", ""),
            minimum=int(words.get("min", "0")),
            process_wide=words.get("scope") == "global",
            ignored=words.get("ignored", ""),
        )

    def settings(self, path: tuple[str, ...]) -> list[Setting]:
        """Return every row of a section of the tree."""
        return [self.setting(path, name) for name in self.section(path).scalars]


def _describer(kind: str) -> Any:
    return lambda value, **words: {"type": kind, "value": value, **words}


def _read(path: Path) -> Any:
    return ConfigObj(
        str(path), _inspec=True, interpolation=False, list_values=False, encoding="utf-8", file_error=True
    )
