"""Dovecot's configuration syntax, line by line, with `\\` at the end of a line and `!include` added."""

from __future__ import annotations

import glob
import os
import stat
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailproxy.base.errors import Problem
from mailproxy.base.text import printable

FILE_LIMIT_BYTES = 16 * 1024 * 1024
FILES_LIMIT = 1000
DEPTH_LIMIT = 30
INCLUDES = ("!include", "!include_try")
SECTIONS_OF_MANY_NAMES = ("local_name",)
_BLANK = " \t"


class Where(NamedTuple):
    """Where a value or a section begins; `line` counts from 1."""

    file: str
    line: int


class Events(Protocol):
    """Who gives the lines a meaning."""

    def on_value(self, key: str, value: str, where: Where) -> None:
        """Take a setting, its value without quotes."""

    def on_open(self, kind: str, name: str, where: Where) -> None:
        """Take the beginning of a section; `name` may be empty."""

    def on_close(self) -> None:
        """Take the end of the innermost section; never called more often than `on_open`."""


@dataclass(slots=True)
class _Before:
    """The line before, which may have been wrapped by accident; `what` is empty after anything else."""

    what: str = ""
    line: int = 0

    def hint(self) -> str:
        if not self.what:
            return ""
        if self.what == "comment":
            return f": the comment of line {self.line} seems to be wrapped, this line needs a '#' too"
        return (
            f": the value of {self.what} of line {self.line} seems to be wrapped,"
            " a '\\' at the end of that line continues it"
        )


class Lexer:
    """Reads a file and those it includes; what is wrong is collected in `problems`, and reading goes on."""

    def __init__(self, events: Events, problems: list[Problem]) -> None:
        self.problems = problems
        self._events = events
        self._open: list[tuple[str, Where]] = []
        self._reading: list[str] = []
        self._files = 0

    def read(self, path: str) -> bool:
        """Read the file an administrator named, which may be a pipe, and all that it includes.

        Returns whether it could be opened.
        """
        try:
            data = _read_limited(path)
        except (OSError, ValueError) as error:
            self.problems.append(
                Problem(f"Can't open configuration file {printable(path)}: {_reason(error)}")
            )
            return False
        self._read_data(path, data)
        return True

    def _read_data(self, path: str, data: bytes) -> None:
        if len(data) > FILE_LIMIT_BYTES:
            self.problems.append(Problem(f"Configuration file {printable(path)} is larger than 16 MiB"))
            return
        self._reading.append(os.path.realpath(path))
        level = len(self._open)
        self._read_lines(path, data.decode("utf-8", "surrogateescape"), level)
        while len(self._open) > level:
            section, where = self._open.pop()
            self.problems.append(
                Problem(f"Missing '}}': the section {section} of {where.file} line {where.line} has no end")
            )
            self._events.on_close()
        self._reading.pop()

    def _read_lines(self, path: str, text: str, level: int) -> None:
        before = _Before()
        lines = text.split("\n")
        last = len(lines) - 1
        joined: list[str] = []
        quote = ""
        start = 0
        for index, raw in enumerate(lines):
            line = raw.removesuffix("\r") if index < last else raw
            line = line.lstrip(_BLANK)
            if line.startswith("#") and not quote:
                if not joined:
                    before = _Before("comment", index + 1)
                continue
            start = start if joined else index + 1
            line, quote = _strip_comment(line, quote)
            line = line.rstrip(_BLANK)
            if line.endswith("\\") and index < last:
                joined.append(line[:-1].rstrip(_BLANK))
                continue
            joined.append(line)
            whole = " ".join(part for part in joined if part)
            before = self._read_line(whole, Where(path, start), level, before) if whole else _Before()
            joined, quote = [], ""
        if joined:
            self._read_line(" ".join(part for part in joined if part), Where(path, start), level, before)

    def _read_line(self, line: str, where: Where, level: int, before: _Before) -> _Before:
        if "\0" in line:
            self._fail("NUL byte in the line", where)
            return _Before()
        key, rest = _first_word(line, "= \t")
        if key in INCLUDES and not rest.startswith("="):
            self._include(rest, where, must_exist=key == "!include")
        elif rest.startswith("="):
            self._events.on_value(key, _unquote(rest[1:].lstrip(_BLANK)), where)
            return _Before(printable(key), where.line)
        elif key == "}" and not rest:
            self._close(where, level)
        else:
            return self._section(key, rest, where, level, before)
        return _Before()

    def _section(self, key: str, rest: str, where: Where, level: int, before: _Before) -> _Before:
        """Open a section, or say what is wrong and go on as if a small slip had not been made."""
        name, brace = ("", rest) if rest.startswith("{") else _first_word(rest, _BLANK)
        if key in SECTIONS_OF_MANY_NAMES and rest.endswith((" {", "\t{")):
            name, brace = rest[:-1].rstrip(_BLANK), "{"
        if brace.startswith("{"):
            self._enter(key, name, where)
            return _Before()
        word = name or key
        if word.endswith("{") and not brace:
            self._fail("Expecting '=': a '{' needs a space before it", where)
            word = word.rstrip("{")
            self._enter(key if name else word, word if name else "", where)
            return _Before()
        if key == "}":
            self._fail("Expecting '=': a '}' must stand alone on its line", where)
            self._close(where, level)
            return _Before()
        self._fail("Expecting '='" + before.hint(), where)
        return before

    def _enter(self, kind: str, name: str, where: Where) -> None:
        self._open.append((printable(f"{kind} {name}".strip()), where))
        self._events.on_open(kind, name, where)

    def _close(self, where: Where, level: int) -> None:
        if len(self._open) == level:
            self._fail("Unexpected '}'", where)
            return
        self._open.pop()
        self._events.on_close()

    def _include(self, pattern: str, where: Where, must_exist: bool) -> None:
        pattern = _unquote(pattern)
        full = os.path.join(os.path.dirname(where.file), pattern)
        found = sorted(glob.glob(full)) if glob.has_magic(full) else [full]
        if not pattern or not found:
            if must_exist or not pattern:
                self._fail(f"!include: no file matches '{printable(pattern)}'", where)
            return
        for path in found:
            self._include_file(path, where, must_exist)

    def _include_file(self, path: str, where: Where, must_exist: bool) -> None:
        if os.path.realpath(path) in self._reading:
            self._fail(f"!include: {printable(path)} includes itself", where)
            return
        self._files += 1
        if self._files > FILES_LIMIT or len(self._reading) > DEPTH_LIMIT:
            if self._files <= FILES_LIMIT + 1:
                self._fail(f"!include: more than {FILES_LIMIT} files or {DEPTH_LIMIT} levels", where)
            return
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                self._fail(f"!include: {printable(path)} is not a file", where)
                return
            data = _read_limited(path)
        except OSError as error:
            if must_exist:
                self._fail(f"!include: Can't open {printable(path)}: {_reason(error)}", where)
            return
        self._read_data(path, data)

    def _fail(self, text: str, where: Where) -> None:
        self.problems.append(Problem(text, where.file, where.line))


def _read_limited(path: str) -> bytes:
    """Read a file, or just so much that it is known to be too large."""
    with open(path, "rb") as file:
        return file.read(FILE_LIMIT_BYTES + 1)


def _strip_comment(line: str, quote: str) -> tuple[str, str]:
    """Cut the line at a `#` outside quotes; `quote` is the one still open from the line before, if any."""
    skip = False
    for index, char in enumerate(line):
        if skip:
            skip = False
        elif quote:
            if char == "\\":
                skip = True
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "#":
            return line[:index], ""
    return line, quote


def _first_word(line: str, ends: str) -> tuple[str, str]:
    for index, char in enumerate(line):
        if char in ends:
            return line[:index], line[index:].lstrip(_BLANK)
    return line, ""


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return value
    chars = iter(value[1:-1])
    return "".join(next(chars, "\\") if char == "\\" else char for char in chars)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
