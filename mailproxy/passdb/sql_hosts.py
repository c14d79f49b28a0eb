"""Where a `connect` value leads: one Target for each host of the three drivers."""

from __future__ import annotations

import os
import re
import sqlite3
import ssl
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import psycopg
import pymysql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pymysql.constants import CLIENT

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.text import printable
from mailproxy.config.settings import SqlSettings
from mailproxy.passdb.pgsql_connection import PgsqlConnection
from mailproxy.passdb.sql_engine import CONNECT_S, QUERY_S, Target

SQLITE_BUSY_S = 1.0


def targets(settings: SqlSettings) -> list[Target]:
    """Return the hosts that `connect` names. Raises ConfigError, whose text holds no value of it."""
    try:
        return _READERS[settings.driver](settings.connect)
    except ValueError as error:
        raise ConfigError([Problem(f"{settings.driver}: {error} (in {settings.path})")]) from None


def _sqlite(connect: str) -> list[Target]:
    uri = f"file:{quote(connect)}?mode=ro"

    def opened() -> sqlite3.Connection:
        # mode=ro: a file that is missing stays missing.
        connection = sqlite3.connect(
            uri, uri=True, timeout=SQLITE_BUSY_S, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = bytes
        return connection

    def identity() -> Hashable:
        try:
            stat = os.stat(connect)
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    label = f"open({printable(connect)}) failed"
    return [Target("sqlite://", label, opened, "sqlite:", backoff=False, identity=identity)]


_TLS_KEYS = ("ssl_ca", "ssl_ca_path", "ssl_cert", "ssl_key", "ssl_cipher")
_MYSQL_KEYS = frozenset(
    ("host", "hostaddr", "user", "password", "dbname", "port", "client_flags", *_TLS_KEYS)
)


def _mysql(connect: str) -> list[Target]:
    options: dict[str, str] = {}
    hosts = []
    for number, word in enumerate(connect.split(), 1):
        key, equals, value = word.partition("=")
        if not equals:
            # An unknown word may be the second half of a password.
            name = key if key in _MYSQL_KEYS else f"word {number}"
            raise ValueError(f"Missing value in connect string: {name}")
        if key not in _MYSQL_KEYS:
            raise ValueError(f"Unknown connect string: {printable(key)}")
        if key in ("host", "hostaddr"):
            hosts.append(value)
        else:
            options[key] = value
    if not hosts:
        raise ValueError("No hosts given in connect string")
    arguments = _mysql_arguments(options)
    database = options.get("dbname", "")
    return [
        Target(
            "mysql+pymysql://",
            f"{printable(host)} ({printable(database)})",
            _mysql_opener(host, arguments, options),
            "mysql: Connect failed to",
            "mysql: Connected to",
        )
        for host in hosts
    ]


def _mysql_arguments(options: Mapping[str, str]) -> dict[str, Any]:
    for key in ("port", "client_flags"):
        if not options.get(key, "0").isdecimal():
            raise ValueError(f"{key} in connect string is not a number")
    return {
        "user": options.get("user"),
        "password": options.get("password", ""),
        "database": options.get("dbname"),
        "port": int(options.get("port", "0")) or 3306,
        # One query is one statement, whatever the file says.
        "client_flag": int(options.get("client_flags", "0")) & ~CLIENT.MULTI_STATEMENTS,
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": CONNECT_S,
        "read_timeout": QUERY_S,
        "write_timeout": QUERY_S,
    }


def _mysql_opener(host: str, arguments: dict[str, Any], options: Mapping[str, str]) -> Callable[[], Any]:
    arguments = arguments | ({"unix_socket": host} if host.startswith("/") else {"host": host})
    wants_tls = any(key in options for key in _TLS_KEYS) and not host.startswith("/")

    def opened() -> Any:
        # Its files are read at each connect, so that a renewed certificate counts.
        if wants_tls:
            return pymysql.connect(ssl=_tls_context(options), **arguments)
        return pymysql.connect(**arguments)

    return opened


def _tls_context(options: Mapping[str, str]) -> ssl.SSLContext:
    """As libmysqlclient of the time: with a CA the certificate is verified, the host name never."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    authority, directory = options.get("ssl_ca"), options.get("ssl_ca_path")
    if authority or directory:
        context.load_verify_locations(authority, directory)
    else:
        context.verify_mode = ssl.CERT_NONE
    if certificate := options.get("ssl_cert"):
        context.load_cert_chain(certificate, options.get("ssl_key"))
    if ciphers := options.get("ssl_cipher"):
        context.set_ciphers(ciphers)
    return context


_PGSQL_WORD = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?=\s|\Z)", re.DOTALL)


def _pgsql(connect: str) -> list[Target]:
    """Take a libpq string or URI; unlike with libpq, each repeated `host=` is one more host."""
    hosts: list[str] = []
    if "://" not in connect:
        words = list(_pgsql_words(connect))
        hosts = [value for key, value in words if key == "host"]
        if len(hosts) > 1:
            connect = " ".join(f"{key}={value}" for key, value in words if key != "host")
    try:
        parsed = conninfo_to_dict(connect)
    except psycopg.Error:
        # libpq's own words quote the string.
        raise ValueError("connect string is not what libpq takes: key=value words or a URI") from None
    arguments: dict[str, Any] = {"application_name": "mailproxy", **parsed}
    arguments["connect_timeout"] = str(int(CONNECT_S))
    database = printable(str(parsed.get("dbname") or parsed.get("user") or ""))
    if len(hosts) < 2:
        return [_pgsql_target(database, make_conninfo(**arguments))]
    plain = [re.sub(r"\\(.)", r"\1", host[1:-1] if host.startswith("'") else host) for host in hosts]
    return [
        _pgsql_target(f"{printable(host)} ({database})", make_conninfo(**{**arguments, "host": host}))
        for host in plain
    ]


def _pgsql_words(connect: str) -> Iterator[tuple[str, str]]:
    at = 0
    while connect[at:].strip():
        word = _PGSQL_WORD.match(connect, at)
        if word is None:
            raise ValueError("connect string is not what libpq takes: key=value words or a URI")
        yield word.group(1), word.group(2)
        at = word.end()


def _pgsql_target(label: str, conninfo: str) -> Target:
    return Target(
        "postgresql+psycopg://",
        label,
        lambda: PgsqlConnection(conninfo),
        "pgsql: Connect failed to",
        "pgsql: Connected to",
    )


_READERS: dict[str, Callable[[str], list[Target]]] = {"mysql": _mysql, "pgsql": _pgsql, "sqlite": _sqlite}
