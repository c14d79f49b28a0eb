"""User databases, one driver a file; a proxied login asks none of them."""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.auth.database import Userdb
from mailproxy.config.settings import DatabaseSettings
from mailproxy.passdb import Log, sql_settings, unknown_driver


def open_userdb(settings: DatabaseSettings, log: Log) -> Userdb:
    """Open the driver of a `userdb` block, as `open_passdb` does; close what it returns.

    Raises ConfigError.
    """
    opener = _OPENERS.get(settings.driver)
    if opener is None:
        raise unknown_driver("userdb", settings, DRIVERS)
    return opener(settings, log)


def _passwd_file(settings: DatabaseSettings, log: Log) -> Userdb:
    from mailproxy.userdb.passwd_file import PasswdFileUserdb

    return PasswdFileUserdb(settings, log)


def _prefetch(settings: DatabaseSettings, log: Log) -> Userdb:
    from mailproxy.userdb.prefetch import PrefetchUserdb

    return PrefetchUserdb()


def _sql(settings: DatabaseSettings, log: Log) -> Userdb:
    from mailproxy.userdb.sql import SqlUserdb

    return SqlUserdb(sql_settings(settings), log)


def _static(settings: DatabaseSettings, log: Log) -> Userdb:
    from mailproxy.userdb.static import StaticUserdb

    return StaticUserdb(settings)


_OPENERS: dict[str, Callable[[DatabaseSettings, Log], Userdb]] = {
    "passwd-file": _passwd_file,
    "prefetch": _prefetch,
    "sql": _sql,
    "static": _static,
}

DRIVERS = tuple(_OPENERS)
