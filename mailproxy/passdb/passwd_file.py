"""The passdb `passwd-file`, and the file itself, which the userdb of the same name reads too.

A line is `user:password:uid:gid:gecos:home:shell:extra fields`. The path may hold variables, such as
`/etc/mail/%d/passwd`; a value that could lead elsewhere opens no file.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from mailproxy.auth.database import Row, Values
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.base.variables import AUTH_VARIABLES, Variable, parse
from mailproxy.config.settings import DatabaseSettings
from mailproxy.passdb import refused

FILES_LIMIT = 1000
"""Files kept in memory when the path has variables."""

_SIZED = re.compile(rb"(?P<value>[^\[]*)\[(?P<bits>13|34|56)\]\Z")
_SIZED_SCHEMES = {b"13": b"{CRYPT}", b"34": b"{PLAIN-MD5}", b"56": b"{DIGEST-MD5}"}

Log = Callable[[Level, str], None]


class Entry(NamedTuple):
    """One user's line; `extra` is not expanded yet."""

    password: bytes
    uid: str
    gid: str
    home: str
    mail: str
    """From the layout older than extra fields."""
    extra: tuple[str, ...]

    def fields(self, values: Values) -> dict[str, str]:
        """Return the extra fields, expanded."""
        fields = {}
        for word in self.extra:
            key, _, value = word.partition("=")
            fields[key] = parse(value, AUTH_VARIABLES).expand(values) if "%" in value else value
        return fields


class PasswdFilePassdb:
    """Looks users up in a file, which is read again whenever it has changed."""

    driver = "passwd-file"
    default_scheme = "CRYPT"
    blocking = False
    cache_key: tuple[str, ...] | None = None
    """Nothing to gain: the file is in memory, and its extra fields may ask for any variable."""

    def __init__(self, settings: DatabaseSettings, log: Log) -> None:
        """Raises ConfigError."""
        self._users = PasswdFile(settings, "passdb", log)

    def lookup(self, values: Values) -> Row | None:
        """Find the user. Raises LookupFailure when the file cannot be read."""
        entry = self._users.find(values)
        if entry is None:
            return None
        password = entry.password
        if sized := _SIZED.match(password):
            password = _SIZED_SCHEMES[sized["bits"]] + sized["value"]
        return Row(password, entry.fields(values))

    def close(self) -> None:
        """Nothing is open between lookups."""


class _Loaded(NamedTuple):
    stamp: tuple[int, int, int]
    lines: dict[bytes, bytes]


class PasswdFile:
    """The file, or files when the path has variables; used by one thread."""

    def __init__(self, settings: DatabaseSettings, kind: str, log: Log) -> None:
        """Raises ConfigError without a path or for an unknown variable in it."""
        self._path = parse(settings.args, AUTH_VARIABLES)
        self._log = log
        if not settings.args:
            raise refused(settings, f"passwd-file {kind}: path not given")
        if self._path.unknown:
            raise refused(
                settings, f"passwd-file {kind}: Unknown variable '%{self._path.unknown[0]}' in path"
            )
        self._key = "n" if Variable("d") in self._path.pieces else "u"
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def find(self, values: Values) -> Entry | None:
        """Find a user; an unsafe or missing file of a domain has no users. Raises LookupFailure."""
        if not all(_safe(piece.expand(values)) for piece in self._path.pieces if isinstance(piece, Variable)):
            return None
        lines = self._lines(self._path.expand(values))
        line = lines.get(values.get(self._key, "").encode("utf-8", "surrogateescape"))
        return None if line is None else _entry(line)

    def _lines(self, path: str) -> dict[bytes, bytes]:
        try:
            loaded = self._loaded.get(path)
            if loaded is not None and loaded.stamp == _stamp(os.stat(path)):
                return loaded.lines
            with open(path, "rb") as file:
                # Before reading: what is written meanwhile shows as a change at the next lookup.
                stamp = _stamp(os.fstat(file.fileno()))
                loaded = _Loaded(stamp, self._parsed(file.read(), path))
        except OSError as error:
            self._loaded.pop(path, None)
            if self._path.letters and isinstance(error, FileNotFoundError):
                return {}
            raise LookupFailure(f"passwd-file: open({printable(path)}) failed: {error.strerror}") from None
        self._loaded[path] = loaded
        if len(self._loaded) > FILES_LIMIT:
            self._loaded.popitem(last=False)
        return loaded.lines

    def _parsed(self, content: bytes, path: str) -> dict[bytes, bytes]:
        lines: dict[bytes, bytes] = {}
        for line in content.split(b"\n"):
            name, _, rest = line.partition(b":")
            if not name or name.startswith(b"#") or line == b"\r":
                continue
            if name in lines:
                self._log(
                    Level.ERROR,
                    f"passwd-file {printable(path)}: User {printable(name)} exists more than once",
                )
            else:
                lines[name] = rest
        return lines


def _entry(line: bytes) -> Entry:
    password, *rest = line.rstrip(b"\r").split(b":", 6)
    uid, gid, _, home, _, extra, *_ = [field.decode("utf-8", "surrogateescape") for field in rest] + [""] * 6
    mail = ""
    if extra.startswith(":"):
        mail, extra = extra[1:], ""
    return Entry(password, uid, gid, home, mail, tuple(extra.split()))


def _safe(value: str) -> bool:
    """Say whether a value may be a part of a path: a plain name, not empty, no way up or down."""
    return bool(value) and value[0] != "." and "/" not in value and min(value) >= " " and "\x7f" not in value


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
