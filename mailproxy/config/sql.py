"""A dovecot-sql.conf, which auth reads."""

from __future__ import annotations

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.text import printable
from mailproxy.config.lexer import Lexer, Where
from mailproxy.config.settings import SqlSettings
from mailproxy.config.spec import Table, unknown_setting

DRIVERS = ("mysql", "pgsql", "sqlite")
_PATH = ("sql", "")


class _SqlEvents:
    """Takes the settings; sections are skipped, as Dovecot does."""

    def __init__(self, table: Table, problems: list[Problem]) -> None:
        self.values: dict[str, str] = {
            row.name: row.default for row in table.settings(_PATH) if row.default is not None
        }
        self.where: dict[str, Where] = {}
        self._problems = problems
        self._level = 0

    def on_value(self, key: str, value: str, where: Where) -> None:
        if self._level:
            return
        if key not in self.values:
            self._problems.append(Problem(unknown_setting(key, self.values), where.file, where.line))
            return
        self.values[key] = value
        self.where[key] = where

    def on_open(self, _kind: str, _name: str, _where: Where) -> None:
        self._level += 1

    def on_close(self) -> None:
        self._level -= 1


def load_sql(path: str) -> SqlSettings:
    """Read the settings of an SQL database. Raises ConfigError; no text of it holds the connect string."""
    problems: list[Problem] = []
    if not path:
        raise ConfigError([Problem("sql: Configuration file path not given")])
    events = _SqlEvents(Table("dovecot-sql.configspec"), problems)
    if Lexer(events, problems).read(path):
        _check(events, path, problems)
    if problems:
        raise ConfigError(problems)
    values = events.values
    return SqlSettings(
        path=path,
        driver=values["driver"],
        connect=values["connect"],
        password_query=values["password_query"],
        user_query=values["user_query"],
        default_pass_scheme=values["default_pass_scheme"],
    )


def _check(events: _SqlEvents, path: str, problems: list[Problem]) -> None:
    driver = events.values["driver"]
    if not driver:
        problems.append(Problem(f"sql: driver not set in configuration file {printable(path)}"))
    elif driver not in DRIVERS:
        where = events.where["driver"]
        text = f"Unknown database driver '{printable(driver)}'"
        problems.append(Problem(text, where.file, where.line))
    if not events.values["connect"]:
        problems.append(Problem(f"sql: connect string not set in configuration file {printable(path)}"))
