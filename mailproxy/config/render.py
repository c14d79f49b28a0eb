"""A configuration as `mailproxy -n` and `-a` show it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.text import printable
from mailproxy.config.build import active_protocols, main_protocol
from mailproxy.config.load import in_file_order, read_tree
from mailproxy.config.tree import Path, Tree

HIDDEN = "<hidden>"
SECRET_SETTINGS = ("ssl_key_password",)
_SECRET_WORD = re.compile(r"\b(pass|password)=\S+")
_SHOWN_CHARS = 4096


def render(path: str, show_all: bool) -> str:
    """Return the settings that differ from their default, or all; secrets are shown as `<hidden>`.

    Raises ConfigError if the file cannot be read; what the settings mean together is not checked.
    """
    problems: list[Problem] = []
    tree = read_tree(path, problems)
    if tree is None or problems:
        raise ConfigError(in_file_order(problems))
    lines = [f"# {path}", *_server(tree, show_all), *_local_names(tree, show_all)]
    for key in tree.root["auth"].sections:
        lines += _auth(tree, key, show_all)
    for section in ("plugin", "dict"):
        lines += _free(tree, section)
    return "\n".join(lines) + "\n"


def _server(tree: Tree, show_all: bool) -> Iterator[str]:
    shown = {"default": main_protocol(tree)}
    shown |= {protocol: protocol for protocol in active_protocols(tree)}
    for name in tree.table.section(("protocol", "imap")).scalars:
        if not show_all and all(tree.is_default(("protocol", copy, name)) for copy in shown.values()):
            continue
        values = {label: _text(name, tree.root["protocol"][copy][name]) for label, copy in shown.items()}
        if len(set(values.values())) == 1:
            yield f"{name}: {values['default']}"
        else:
            yield from (f"{name}({label}): {value}" for label, value in values.items())


def _local_names(tree: Tree, show_all: bool) -> Iterator[str]:
    blocks: dict[str, list[tuple[str, list[str]]]] = {}
    for protocol in active_protocols(tree):
        blocks[protocol] = [
            (
                key.split(" ", 1)[1],
                list(_settings(tree, ("protocol", protocol, "local_name", key), "  ", show_all)),
            )
            for key in tree.root["protocol"][protocol]["local_name"].sections
        ]
    same = len({str(found) for found in blocks.values()}) == 1
    for protocol in list(blocks)[: 1 if same else None]:
        for names, lines in blocks[protocol]:
            yield f"local_name{'' if same else f'({protocol})'} {printable(names)}:"
            yield from lines


def _auth(tree: Tree, key: str, show_all: bool) -> Iterator[str]:
    path: Path = ("auth", key)
    section: Any = tree.root["auth"][key]
    yield f"auth {printable(key.split(' ', 1)[1])}:"
    yield from _settings(tree, path, "  ", show_all)
    for kind in ("passdb", "userdb"):
        for name in section[kind].sections:
            yield f"  {kind}:"
            yield from _settings(tree, (*path, kind, name), "    ", show_all)
    sockets = [(kind, name) for kind in ("client", "master") for name in section[kind].sections]
    if sockets:
        yield "  socket:"
        yield "    type: listen"
    for kind, name in sockets:
        yield f"    {kind}:"
        yield from _settings(tree, (*path, kind, name), "      ", show_all)


def _settings(tree: Tree, path: Path, indent: str, show_all: bool) -> Iterator[str]:
    section: Any = tree.root
    for level in path:
        section = section[level]
    for name in tree.table.section(path).scalars:
        if show_all or not tree.is_default((*path, name)):
            yield f"{indent}{name}: {_text(name, section[name])}"


def _free(tree: Tree, section: str) -> list[str]:
    found = [f"  {printable(key)}: {_text(key, value)}" for of, key, value, _ in tree.free if of == section]
    return [f"{section}:", *found] if found else []


def _text(name: str, value: str | int | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in SECRET_SETTINGS:
        return HIDDEN if value else ""
    if name in ("mode", "umask"):
        return f"0{value:o}"
    if name == "args":
        value = _SECRET_WORD.sub(rf"\1={HIDDEN}", str(value))
    text = "" if value is None else str(value)
    return text if text.isprintable() else printable(text, _SHOWN_CHARS)
