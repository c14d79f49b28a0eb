"""Who may import whom. A failure names the file and line of the offender."""

from __future__ import annotations

import graphlib
import subprocess
import sys

import pytest

from tests.house.tree import ROOT, Import, imports, modules

# A name stands for itself and everything below it. `mailproxy`, which has the version, is for all.
MAY_IMPORT = {
    "base": (),
    "net": ("base",),
    "proto": ("base",),
    "ipc": ("base",),
    "config": ("base",),
    "supervise": ("ipc.status", "base"),
    "session": ("proto", "ipc", "base"),
    # The frozen settings objects are words that everybody is told in; reading files stays in config.
    "auth": ("ipc", "base", "config.settings"),
    "passdb": ("auth", "base", "config.settings", "config.sql"),
    # One file, one query engine: a userdb shares what the passdb of its name has opened.
    "userdb": ("passdb", "auth", "base", "config.settings"),
    "process": (
        *("session", "auth", "passdb", "userdb", "supervise"),
        *("net", "proto", "ipc", "config", "base"),
    ),
    "cli": ("process.master", "config", "base"),
}
PURE = ("base", "proto", "ipc", "session", "supervise")
NOT_PURE = frozenset(
    (
        *("asyncio", "fcntl", "multiprocessing", "os", "select", "selectors"),
        *("signal", "socket", "ssl", "subprocess", "threading", "time"),
    )
)
SHELLS = {
    "master": {"master", "generation", "spawner", "log_sink", "run_dir"},
    "auth": {"auth", "auth_client"},
    "login": {"login", "connection", "auth_link"},
}
SHARED_BY_SHELLS = "child"
# The one place that knows what each kind of child runs.
WIRING = {("generation", "auth"), ("generation", "login")}
# What they load when a configuration asks for it: drivers, libraries for hashes.
REGISTRIES = {"mailproxy.passdb", "mailproxy.userdb", "mailproxy.auth.schemes"}
BANNED = ("asyncio", "random")
ALL = imports()
MODULES = modules()


def _room(dotted: str) -> str:
    return dotted.split(".")[1] if "." in dotted else ""


def _within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(allowed + ".")


def _module(imported: str) -> str:
    """Return the module that an imported name is or is in."""
    return imported if imported in MODULES else imported.rpartition(".")[0]


def _told(offenders: list[Import]) -> str:
    return "\n".join(f"{found.where}: {found.importer} imports {found.imported}" for found in offenders)


def test_every_room_has_a_rule() -> None:
    """A new room says here whom it needs."""
    rooms = {_room(name) for name in MODULES} - {""}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_their_own_kind_and_what_they_may(room: str) -> None:
    allowed = (room, *MAY_IMPORT[room])
    offenders = [
        found
        for found in ALL
        if _room(found.importer) == room
        and _within(found.imported, "mailproxy")
        and found.imported != "mailproxy"
        and not any(_within(found.imported, f"mailproxy.{name}") for name in allowed)
    ]
    assert not offenders, _told(offenders)


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_know_no_socket_file_clock_or_thread(room: str) -> None:
    offenders = [
        found
        for found in ALL
        if _room(found.importer) == room and found.imported.partition(".")[0] in NOT_PURE
    ]
    assert not offenders, _told(offenders)


def test_shells_do_not_import_each_other() -> None:
    """Except where the master's generation names the bodies of its children."""
    owners = {member: shell for shell, members in SHELLS.items() for member in members}
    shells = {name.split(".")[2] for name in MODULES if name.startswith("mailproxy.process.")}
    assert shells == {*owners, SHARED_BY_SHELLS}
    offenders = []
    for found in ALL:
        target = _module(found.imported).split(".")
        if _room(found.importer) != "process" or target[:2] != ["mailproxy", "process"] or len(target) < 3:
            continue
        importer, imported = found.importer.split(".")[2], target[2]
        is_own = imported == SHARED_BY_SHELLS or owners.get(importer) == owners[imported]
        if not is_own and (importer, imported) not in WIRING:
            offenders.append(found)
    assert not offenders, _told(offenders)


def test_no_cycles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in ALL:
        target = _module(found.imported)
        if target in MODULES and not found.for_types and not found.in_function:
            graph[found.importer].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_import_inside_a_function() -> None:
    offenders = [found for found in ALL if found.in_function and found.importer not in REGISTRIES]
    assert not offenders, _told(offenders)


def test_banned_modules() -> None:
    offenders = [found for found in ALL if found.imported.partition(".")[0] in BANNED]
    assert not offenders, _told(offenders)


def test_the_master_loads_no_event_loop_and_no_database() -> None:
    """Whatever the master has loaded, each of its children carries along."""
    heavy = ("asyncio", "sqlalchemy", "psycopg", "pymysql", "sqlite3")
    program = f"import sys, mailproxy.cli; print(*[name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []
