"""Password databases, one driver a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mailproxy.auth.database import Passdb
from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.level import Level
from mailproxy.config.settings import DatabaseSettings, SqlSettings

Log = Callable[[Level, str], None]


def open_passdb(settings: DatabaseSettings, log: Log) -> Passdb:
    """Open the driver of a `passdb` block; call it in auth alone, close what it returns.

    Files of secrets are read here, so that it may run before privileges are dropped; a database is
    connected to at its first lookup. `log` is called from any thread. Raises ConfigError.
    """
    opener = _OPENERS.get(settings.driver)
    if opener is None:
        raise unknown_driver("passdb", settings, DRIVERS)
    return opener(settings, log)


def unknown_driver(kind: str, settings: DatabaseSettings, known: Iterable[str]) -> ConfigError:
    """Begin in Dovecot's words that there is no such driver, and say which there are."""
    text = f"Unknown {kind} driver '{settings.driver}' (the known ones are {', '.join(sorted(known))})"
    return refused(settings, text)


def refused(settings: DatabaseSettings, text: str) -> ConfigError:
    """Return a ConfigError at the place of the block."""
    return ConfigError([Problem(text, settings.file, settings.line)])


def sql_settings(settings: DatabaseSettings) -> SqlSettings:
    """Read the SQL file that a block names. Raises ConfigError."""
    from mailproxy.config.sql import load_sql

    if not settings.args:
        raise refused(settings, "sql: Configuration file path not given")
    return load_sql(settings.args)


# A driver is imported when it is configured: the SQL one alone costs 15 MB.
def _sql(settings: DatabaseSettings, log: Log) -> Passdb:
    sql = sql_settings(settings)
    if sql.driver == "pgsql":
        from mailproxy.passdb.pgsql import PgsqlPassdb

        return PgsqlPassdb(sql, log)
    from mailproxy.passdb.sql import SqlPassdb

    return SqlPassdb(sql, log)


def _static(settings: DatabaseSettings, log: Log) -> Passdb:
    from mailproxy.passdb.static import StaticPassdb

    return StaticPassdb(settings)


def _passwd_file(settings: DatabaseSettings, log: Log) -> Passdb:
    from mailproxy.passdb.passwd_file import PasswdFilePassdb

    return PasswdFilePassdb(settings, log)


_OPENERS: dict[str, Callable[[DatabaseSettings, Log], Passdb]] = {
    "passwd-file": _passwd_file,
    "sql": _sql,
    "static": _static,
}

DRIVERS = tuple(_OPENERS)
