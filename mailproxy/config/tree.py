"""From the lines of a dovecot.conf to a tree: which section a setting belongs to, after Dovecot's rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from configobj import ConfigObj

from mailproxy.base.errors import Problem
from mailproxy.base.text import printable
from mailproxy.config.lexer import Where
from mailproxy.config.spec import Table, unknown_setting

Path = tuple[str, ...]
PROTOCOLS = ("imap", "pop3")
NAMESPACES = ("private", "shared", "public")
# What a client may send as SNI: letters of other scripts come as `xn--`. A wildcard is one whole label.
_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

SERVER_TEXT = "server sections are not supported: start one mailproxy with its own file for each"
CONNECT_TEXT = "socket connect is not supported: give the auth section passdbs of its own"
DEPRECATED_LOGIN = (
    "Ignoring deprecated 'login' section handling. Use protocol imap/pop3 { .. } instead."
    " Some settings may have been read incorrectly."
)


@dataclass(slots=True)
class Frame:
    """An open section: what takes its settings, and what may be opened in it."""

    kind: str
    set_value: Callable[[str, str, Where], None]
    path: Path = ()


class Tree:
    """The settings of a file as nested sections, with file and line of each that was set.

    Its sections are `protocol/imap` and `protocol/pop3` with `local_name/<n> <names>` below,
    `auth/<n> <name>` with `passdb`, `userdb`, `client` and `master` below, and `namespace/<n> <type>`: <n>
    keeps their order and lets names repeat. Strings until `finish`, which converts them and fills in the
    defaults.
    """

    def __init__(self, table: Table, problems: list[Problem]) -> None:
        self.table = table
        self.problems = problems
        self.warnings: list[str] = []
        self.root: Any = ConfigObj(configspec=table.spec, interpolation=False, list_values=False)
        self.where: dict[Path, Where] = {}
        self.free: list[tuple[str, str, str, Where]] = []
        """Settings of `plugin` and `dict`, and of `protocol lda`, as they came: section, name, value."""
        self._auth_defaults: dict[str, tuple[str, Where]] = {}
        self._frames = [Frame("root", partial(self._set_server, PROTOCOLS))]
        self.root["protocol"] = {name: {"local_name": {}} for name in PROTOCOLS}
        self.root["auth"] = {}
        self.root["namespace"] = {}

    def is_set(self, path: Path, name: str) -> bool:
        """Say whether the file has a valid value for the setting."""
        return (*path, name) in self.where

    def is_default(self, path: Path) -> bool:
        """Say whether a setting of the finished tree has the value that it would have anyway."""
        setting = self.table.setting(path[:-1], path[-1])
        if setting.default is None:
            return self._section(path[:-1])[path[-1]] is None
        check = self.table.section(path[:-1])[path[-1]]
        same: bool = self._section(path[:-1])[path[-1]] == self.table.validator.check(check, setting.default)
        return same

    def finish(self) -> None:
        """Convert every value to its type and fill in the defaults."""
        self.root.validate(self.table.validator)

    # What the lexer reports.

    def on_value(self, key: str, value: str, where: Where) -> None:
        """Put a setting where it belongs."""
        self._frames[-1].set_value(key, value, where)

    def on_open(self, kind: str, name: str, where: Where) -> None:
        """Begin a section, or skip one that must not be here."""
        self._frames.append(self._frame(kind, name, where))

    def on_close(self) -> None:
        """End a section."""
        self._frames.pop()

    # Sections.

    def _frame(self, kind: str, name: str, where: Where) -> Frame:
        inside = self._frames[-1].kind
        if inside == "skipped":
            return Frame("skipped", _skip)
        if kind in ("plugin", "dict"):
            return self._free_section(kind, inside, where)
        if kind in ("server", "protocol", "auth", "namespace"):
            if inside != "root":
                return self._refuse(f"{kind.capitalize()} section not allowed here", where)
            return _ROOT_SECTIONS[kind](self, name, where)
        if kind == "local_name" and inside in ("root", "protocol"):
            return self._local_name(name, where, self._frames[-1].path[1:] or PROTOCOLS)
        if inside == "auth" and kind in ("passdb", "userdb"):
            return self._nested(kind, name.lower(), where)
        if inside == "auth" and kind == "socket":
            return self._socket(name, where)
        if inside == "socket" and kind in ("client", "master"):
            return self._nested(kind, name, where)
        return self._refuse("Unknown section type", where)

    def _free_section(self, kind: str, inside: str, where: Where) -> Frame:
        if inside not in ("root", "protocol"):
            return self._refuse("Plugin section not allowed here", where)
        return Frame("free", partial(self._set_free, kind))

    def _server(self, _name: str, where: Where) -> Frame:
        return self._refuse(SERVER_TEXT, where)

    def _protocol(self, name: str, where: Where) -> Frame:
        if name == "lda":
            return Frame("free", partial(self._set_free, "protocol lda"))
        if name not in PROTOCOLS:
            return self._refuse("Unknown protocol name", where)
        return Frame("protocol", partial(self._set_server, (name,)), ("protocol", name))

    def _local_name(self, names: str, where: Where, protocols: tuple[str, ...]) -> Frame:
        for name in names.split() or [""]:
            if not _HOST_NAME.fullmatch(name):
                return self._refuse(f"local_name: Invalid host name: {printable(name)}", where)
        paths = [self._new_section(("protocol", one, "local_name"), names, where) for one in protocols]

        def set_value(key: str, value: str, where: Where) -> None:
            for path in paths:
                self._store(path, key, value, where)

        return Frame("local_name", set_value)

    def _auth(self, name: str, where: Where) -> Frame:
        path = self._new_auth(name, where)
        return Frame("auth", partial(self._set_auth, path), path) if path else Frame("skipped", _skip)

    def _new_auth(self, name: str, where: Where) -> Path | None:
        error = ""
        if "/" in name:
            error = "Authentication process name must not contain '/'"
        elif not name or name.startswith("."):
            error = "Authentication process name must not be empty or start with '.'"
        elif name in (key.split(" ", 1)[1] for key in self.root["auth"]):
            error = "Authentication process already exists with the same name"
        if error:
            self._fail(error, where)
            return None
        path = self._new_section(("auth",), name, where)
        for key, (value, origin) in self._auth_defaults.items():
            self._store(path, key, value, origin)
        return path

    def _namespace(self, name: str, where: Where) -> Frame:
        if name.lower() not in NAMESPACES:
            return self._refuse("Unknown namespace type", where)
        path = self._new_section(("namespace",), name.lower(), where)
        return Frame("namespace", partial(self._store, path), path)

    def _nested(self, kind: str, name: str, where: Where) -> Frame:
        """Begin a section that belongs to the auth section around it."""
        auth = self._frames[-1].path
        section = self.root["auth"][auth[1]]
        if kind not in section:
            section[kind] = {}
        path = self._new_section((*auth, kind), name, where)
        if name and kind in ("passdb", "userdb"):
            self._store(path, "driver", name, where)
        return Frame(kind, partial(self._store, path), path)

    def _socket(self, name: str, where: Where) -> Frame:
        if name == "connect":
            return self._refuse(CONNECT_TEXT, where)
        if name != "listen":
            return self._refuse("Unknown auth socket type", where)
        return Frame("socket", self._set_nothing, self._frames[-1].path)

    def _new_section(self, above: Path, name: str, where: Where) -> Path:
        parent = self._section(above)
        path = (*above, f"{len(parent)} {name}")
        parent[path[-1]] = {}
        self.where[path] = where
        return path

    # Settings.

    def _set_server(self, protocols: tuple[str, ...], key: str, value: str, where: Where) -> None:
        if not self.table.has(("protocol", "imap"), key):
            self._set_root_auth(key, value, where)
            return
        if len(protocols) == 1 and self.table.setting(("protocol", "imap"), key).process_wide:
            self.warnings.append(
                f"{where.file} line {where.line}: {key} holds for all processes,"
                " set it outside of protocol sections"
            )
        for protocol in protocols:
            self._store(("protocol", protocol), key, value, where)

    def _set_root_auth(self, key: str, value: str, where: Where) -> None:
        """Take what is not a root setting: it is for the last auth section, or for all that follow."""
        name = key.removeprefix("auth_")
        sections = self.root["auth"].sections
        if key == "auth":
            self._new_auth(value, where)
        elif key == "login":
            self.warnings.append(DEPRECATED_LOGIN)
        elif name == key:
            names = (f"auth_{one}" for one in self._names(("auth", "")))
            self._unknown(key, [*self._names(("protocol", "imap")), *names], where)
        elif sections:
            self._store(("auth", sections[-1]), name, value, where)
        elif self._valid(("auth", ""), name, value, where):
            self._auth_defaults[name] = (value, where)

    def _set_auth(self, path: Path, key: str, value: str, where: Where) -> None:
        self._store(path, key.removeprefix("auth_"), value, where)

    def _set_free(self, section: str, key: str, value: str, where: Where) -> None:
        self.free.append((section, key, value, where))

    def _set_nothing(self, key: str, _value: str, where: Where) -> None:
        self._unknown(key, (), where)

    def _store(self, path: Path, key: str, value: str, where: Where) -> None:
        if self._valid(path, key, value, where):
            self._section(path)[key] = value
            self.where[(*path, key)] = where

    def _section(self, path: Path) -> Any:
        section = self.root
        for name in path:
            section = section[name]
        return section

    def _valid(self, path: Path, key: str, value: str, where: Where) -> bool:
        if not self.table.has(path, key):
            self._unknown(key, self._names(path), where)
            return False
        error = self.table.error(path, key, value)
        if error:
            self._fail(error, where)
        return not error

    def _names(self, path: Path) -> Collection[str]:
        found: list[str] = self.table.section(path).scalars
        return found

    def _unknown(self, key: str, known: Collection[str], where: Where) -> None:
        self._fail(unknown_setting(key, known), where)

    def _refuse(self, text: str, where: Where) -> Frame:
        self._fail(text, where)
        return Frame("skipped", _skip)

    def _fail(self, text: str, where: Where) -> None:
        self.problems.append(Problem(text, where.file, where.line))


_ROOT_SECTIONS: dict[str, Callable[[Tree, str, Where], Frame]] = {
    "server": Tree._server,
    "protocol": Tree._protocol,
    "auth": Tree._auth,
    "namespace": Tree._namespace,
}


def _skip(_key: str, _value: str, _where: Where) -> None:
    """Drop a setting of a section that is already reported."""
