"""Turns a configured query with %-variables into SQL text and bound parameters, once, at start.

A value never becomes text of the query. A string literal that holds a variable (`'%u'`, `'%n@%d'`,
`'%u*proxy'`) becomes one parameter as a whole, a bare `%u` becomes one too. A variable where SQL takes
no value (in a name, a quoted identifier, an optimizer hint) is a start-up error, and so is a lone `%`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from mailproxy.auth.database import Values
from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.variables import AUTH_VARIABLES, Template, Variable, parse

_PLAIN = r"'(?P<single>(?:[^']|'')*)'"
_SLASHED = r"'(?P<single>(?:[^'\\]|\\.|'')*)'"
_COMMENT = r"(?P<comment>/\*(?P<hint>[!+])?.*?(?:\*/|\Z)|--[^\n]*)"
_MYSQL_COMMENT = r"(?P<comment>/\*(?P<hint>[!+])?.*?(?:\*/|\Z)|--(?=\s|\Z)[^\n]*|\#[^\n]*)"


class Dialect(NamedTuple):
    """How one database writes literals. `double` names what `"…"` is: a literal or a name."""

    token: re.Pattern[str]
    backslashes: bool
    double_is_literal: bool
    placeholder: str
    """What stands for a value; `{}` is its number. PostgreSQL takes `a$1` and `$1a` for something else."""
    like_escape: str
    """What to append to a LIKE without ESCAPE, so that a backslash makes `%` and `_` plain."""


def _dialect(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.DOTALL)


DIALECTS = {
    "sqlite": Dialect(
        _dialect(
            _PLAIN,
            r'"(?P<double>(?:[^"]|"")*)"',
            r"(?P<name>`[^`]*`|\[[^\]]*\])",
            _COMMENT,
        ),
        backslashes=False,
        double_is_literal=True,
        placeholder="?",
        like_escape=r" ESCAPE '\'",
    ),
    "mysql": Dialect(
        _dialect(
            _SLASHED,
            r'"(?P<double>(?:[^"\\]|\\.|"")*)"',
            "(?P<name>`[^`]*`)",
            _MYSQL_COMMENT,
        ),
        backslashes=True,
        double_is_literal=True,
        placeholder="%s",
        like_escape="",
    ),
    "pgsql": Dialect(
        _dialect(
            r"(?<!\w)[eE]'(?P<escaped>(?:[^'\\]|\\.|'')*)'",
            _PLAIN,
            r'"(?P<double>(?:[^"]|"")*)"',
            r"(?<!\w)\$(?P<tag>\w*)\$(?P<dollar>.*?)\$(?P=tag)\$",
            _COMMENT,
        ),
        backslashes=False,
        double_is_literal=False,
        placeholder=" ${} ",
        like_escape="",
    ),
}

_BACKSLASHED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": r"\%", "_": r"\_"}
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LIKE = re.compile(r"\bI?LIKE\s*\Z", re.IGNORECASE)
_LIKE_CLAUSE = re.compile(r"\s*ESCAPE\s*'(?:\\\\|[^'])'", re.IGNORECASE)
_NAME_BEFORE = re.compile(r"[\w.$]\Z")
_NAME_AFTER = re.compile(r"[\w.$]")
_PREFIX = re.compile(r"(?:\b[xXbBnN]|[uU]&)\Z")


class Parameter(NamedTuple):
    """One value to bind; for a LIKE, `wildcard` is the character that makes `%` and `_` plain."""

    template: Template
    wildcard: str = ""

    def expand(self, values: Values) -> str:
        """Return the text to bind."""
        if not self.wildcard:
            return self.template.expand(values)
        return "".join(
            [
                piece if isinstance(piece, str) else _without_wildcards(piece.expand(values), self.wildcard)
                for piece in self.template.pieces
            ]
        )


@dataclass(frozen=True, slots=True)
class SqlTemplate:
    """A query ready to run: `text` with the driver's placeholders and one Parameter per placeholder."""

    text: str
    parameters: tuple[Parameter, ...]
    letters: tuple[str, ...]
    """The variables that decide the answer, each once, in order of their first appearance."""

    def bind(self, values: Values) -> tuple[str, ...] | None:
        """Return what to bind, or None when a database cannot hold it: a NUL, or bytes not UTF-8."""
        bound = tuple([parameter.expand(values) for parameter in self.parameters])
        for text in bound:
            if text.isascii():
                if "\0" in text:
                    return None
            elif "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
                return None
        return bound


def compile_query(query: str, driver: str, where: str) -> SqlTemplate:
    """Compile `query` for a driver of DIALECTS; `where` begins each error text. Raises ConfigError."""
    try:
        return _Compiler(DIALECTS[driver]).compile(query)
    except ValueError as error:
        raise ConfigError([Problem(f"{where}: {error}")]) from None


class _Compiler:
    """Walks a query token by token; what is wrong is a ValueError with the reason."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._text: list[str] = []
        self._parameters: list[Parameter] = []

    def compile(self, query: str) -> SqlTemplate:
        at = 0
        while token := self._dialect.token.search(query, at):
            self._code(query[at : token.start()])
            at = token.end()
            clause = _LIKE_CLAUSE.match(query, at)
            self._token(token, clause.group()[-2] if clause else "")
        self._code(query[at:])
        letters = dict.fromkeys(name for one in self._parameters for name in one.template.letters)
        return SqlTemplate("".join(self._text), tuple(self._parameters), tuple(letters))

    def _token(self, token: re.Match[str], like_escape: str) -> None:
        groups = token.groupdict()
        whole = token.group()
        if groups["comment"] is not None:
            # A plain comment goes: a variable in it is no part of the query.
            self._verbatim(whole, "an optimizer hint") if groups["hint"] else self._text.append(" ")
        elif groups.get("name") is not None or (
            groups["double"] is not None and not self._dialect.double_is_literal
        ):
            self._verbatim(whole, "a quoted name")
        else:
            kinds = ("single", "double", "escaped", "dollar")
            self._literal(token, next(kind for kind in kinds if groups.get(kind) is not None), like_escape)

    def _code(self, code: str) -> None:
        """Take what is neither literal nor comment; each variable in it becomes a parameter."""
        for quote in "'\"`":
            if quote in code:
                raise ValueError(f"a quote ({quote}) that is never closed")
        pieces = _parsed(code).pieces
        for index, piece in enumerate(pieces):
            if isinstance(piece, str):
                self._append(piece)
                continue
            before = pieces[index - 1] if index else ""
            after = pieces[index + 1] if index + 1 < len(pieces) else ""
            if not isinstance(before, str) or _NAME_BEFORE.search(before) or _touches(after):
                raise ValueError(
                    f"the variable %{piece.name} is part of a name or a number; only a whole value, such as"
                    f" '%{piece.name}', can come from a login"
                )
            self._parameter(Template(code, (piece,), ()), "")

    def _literal(self, token: re.Match[str], kind: str, like_escape: str) -> None:
        content = token.group(kind)
        template = _parsed(content)
        whole = token.string
        if not template.letters:
            self._append(whole[token.start() : token.start(kind)])
            self._append(template.expand({}))
            self._append(whole[token.end(kind) : token.end()])
            return
        before = "".join(self._text)
        if _PREFIX.search(before):
            raise ValueError(f"a variable in the literal {before[-1:]}'{content}', which is no plain text")
        pieces = [self._plain(piece, kind) if isinstance(piece, str) else piece for piece in template.pieces]
        wildcard = ""
        if _LIKE.search(before):
            wildcard = like_escape or "\\"
            if not like_escape and self._dialect.like_escape:
                pieces = [p.replace("\\", "\\\\") if isinstance(p, str) else p for p in pieces]
        self._parameter(Template(content, tuple(pieces), ()), wildcard)
        if wildcard and not like_escape:
            self._text.append(self._dialect.like_escape)

    def _plain(self, piece: str, kind: str) -> str:
        """Undo the quoting of a literal's fixed part."""
        if kind == "dollar":
            return piece
        quote = '"' if kind == "double" else "'"
        table = _ESCAPED if kind == "escaped" else _BACKSLASHED if self._dialect.backslashes else None
        if table is None:
            return piece.replace(quote * 2, quote)
        plain = re.sub(
            r"\\(.?)|" + quote * 2, lambda found: _unescaped(found, quote, table), piece, flags=re.DOTALL
        )
        return plain

    def _verbatim(self, whole: str, place: str) -> None:
        template = _parsed(whole)
        if template.letters:
            raise ValueError(
                f"the variable %{template.letters[0]} stands in {place}, where SQL takes no value"
            )
        self._append(template.expand({}))

    def _append(self, text: str) -> None:
        if text:
            self._text.append(text.replace("%", "%%") if self._dialect.placeholder == "%s" else text)

    def _parameter(self, template: Template, wildcard: str) -> None:
        self._parameters.append(Parameter(template, wildcard))
        self._text.append(self._dialect.placeholder.format(len(self._parameters)))


def _parsed(text: str) -> Template:
    template = parse(text, AUTH_VARIABLES)
    if template.unknown:
        raise ValueError(f"Unknown variable '%{template.unknown[0]}' (a percent sign is written %%)")
    return template


def _touches(after: str | Variable) -> bool:
    return not isinstance(after, str) or _NAME_AFTER.match(after) is not None


def _unescaped(found: re.Match[str], quote: str, table: dict[str, str]) -> str:
    char = found.group(1)
    if char is None:
        return quote
    if not char:
        raise ValueError("a backslash before a variable")
    if table is _ESCAPED and char.isalnum() and char not in table:
        raise ValueError(f"\\{char} in a literal with a variable")
    return table.get(char, char)


def _without_wildcards(value: str, escape: str) -> str:
    for special in dict.fromkeys((escape, "%", "_")):
        value = value.replace(special, escape + special)
    return value
