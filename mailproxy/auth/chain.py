"""The order in which passdbs are asked, and what their flags mean. Flags belong to the entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from mailproxy.auth.cache import Key
from mailproxy.auth.database import Found, Passdb, Values
from mailproxy.base.errors import ConfigError, LookupFailure, Problem
from mailproxy.config.settings import AuthSettings, DatabaseSettings


class Link(NamedTuple):
    """One passdb at its place; `number` tells apart two of the same driver and arguments."""

    number: int
    passdb: Passdb
    deny: bool
    pass_on: bool
    letters: tuple[str, ...] | None
    """Variables of the cache key; None: not cached."""

    def cache_key(self, values: Mapping[str, str]) -> Key:
        """Return the key of the row that a lookup with these values would find."""
        letters = self.letters or ()
        if letters == ("u",):
            return (self.number, values["u"])
        return (self.number, *[values.get(letter, "") for letter in letters])

    def find(self, values: Values) -> Found:
        """Ask the passdb; its failure is a value, since this may run in a thread of the pool."""
        try:
            return self.passdb.lookup(values)
        except LookupFailure as failure:
            return failure
        except Exception as failure:
            # A driver's fault ends this request only; its text may quote what must not be logged.
            return LookupFailure(f"Lookup failed: {type(failure).__name__}")


class Chain(NamedTuple):
    """The passdbs of one auth section; masters are asked about master users only."""

    ordinary: tuple[Link, ...]
    masters: tuple[Link, ...]

    @property
    def links(self) -> tuple[Link, ...]:
        """Every passdb."""
        return self.ordinary + self.masters


def open_chain(settings: AuthSettings, open_one: Callable[[DatabaseSettings], Passdb]) -> Chain:
    """Check the flags, then open every passdb. Raises ConfigError, with what was opened closed again."""
    problems = _problems(settings)
    if problems:
        raise ConfigError(problems)
    opened: list[Passdb] = []
    try:
        for database in settings.passdbs:
            opened.append(open_one(database))  # noqa: PERF401 what is open must be known if the next fails
    except BaseException:
        for passdb in opened:
            passdb.close()
        raise
    pairs = list(zip(settings.passdbs, enumerate(opened), strict=True))
    return Chain(
        _links((database, *numbered) for database, numbered in pairs if not database.master),
        _links((database, *numbered) for database, numbered in pairs if database.master),
    )


def _links(opened: Iterable[tuple[DatabaseSettings, int, Passdb]]) -> tuple[Link, ...]:
    return tuple(
        Link(number, passdb, database.deny, database.pass_on, _letters(database, passdb))
        for database, number, passdb in opened
    )


def _letters(database: DatabaseSettings, passdb: Passdb) -> tuple[str, ...] | None:
    letters = passdb.cache_key
    # A key without the user would give one user's row to all.
    if letters is not None and not {"u", "n"} & set(letters):
        text = f"The cache key of passdb {passdb.driver} does not contain the user name"
        raise ConfigError([Problem(text, database.file, database.line)])
    return letters


def _problems(settings: AuthSettings) -> list[Problem]:
    passdbs = settings.passdbs
    if not passdbs:
        mechanism = settings.mechanisms[0] if settings.mechanisms else "PLAIN"
        return [Problem(f"No passdbs specified in configuration file. {mechanism} mechanism needs one")]
    problems = [
        Problem("Master passdb can't have deny=yes", database.file, database.line)
        for database in passdbs
        if database.master and database.deny
    ]
    last = passdbs[-1]
    if last.pass_on:
        problems.append(Problem("Last passdb can't have pass=yes", last.file, last.line))
    if all(database.deny or database.master for database in passdbs):
        problems.extend(
            Problem(f"{name} mechanism can't be supported with given passdbs") for name in settings.mechanisms
        )
    return problems
