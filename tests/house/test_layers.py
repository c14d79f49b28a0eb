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
    "net": ("base", "config.settings"),
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
    "ctl": ("ipc.control", "ipc.status", "config.load", "base"),
    "cli": ("process.master", "process.certificates", "process.predecessor", "config", "base"),
}
PURE = ("base", "proto", "ipc", "session", "supervise")
NOT_PURE = frozenset(
    (
        *("asyncio", "fcntl", "multiprocessing", "os", "select", "selectors"),
        *("signal", "socket", "ssl", "subprocess", "threading", "time"),
    )
)
SHELLS = ("master", "auth", "login")
# What every kind of process does first, how a backend is reached, for a login or for a question, and the
# memory that master and workers share.
SHARED_BY_SHELLS = {
    "child",
    "title",
    "backend_link",
    "master_link",
    "own_fault",
    "source_addresses",
    "question",
    "user_ip_table",
    "syscall_filter",
}
# The places that know what each kind of child runs.
WIRING = {
    ("auth_processes", "auth"),
    ("generation", "login"),
    ("generation", "login_policy"),
    ("rehearsal", "login"),
    ("rehearsal", "login_policy"),
}
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


def _parts_of(shell: str) -> set[str]:
    """Return the modules of process/ that a shell needs, itself included, but for the bodies of children."""
    parts: set[str] = set()
    waiting = {shell}
    while waiting:
        part = waiting.pop()
        parts.add(part)
        for found in ALL:
            target = _module(found.imported).split(".")
            if found.importer != f"mailproxy.process.{part}" or found.for_types:
                continue
            if target[:2] == ["mailproxy", "process"] and len(target) == 3 and target[2] not in parts:
                waiting |= {target[2]} if (part, target[2]) not in WIRING else set()
    return parts


@pytest.mark.parametrize("one", SHELLS)
def test_shells_have_nothing_of_each_other(one: str) -> None:
    """Except where the master names the bodies of its children."""
    for other in set(SHELLS) - {one}:
        both = _parts_of(one) & _parts_of(other)
        assert both <= SHARED_BY_SHELLS, f"{one} and {other} both need {sorted(both)}"


def test_every_part_of_process_belongs_to_a_shell() -> None:
    parts = {name.split(".")[2] for name in MODULES if name.startswith("mailproxy.process.")}
    assert parts == set().union(*(_parts_of(shell) for shell in SHELLS))


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
    """Whatever the master has loaded, each of its children carries along; the last three act at each fork."""
    heavy = ("asyncio", "sqlalchemy", "psycopg", "pymysql", "sqlite3", "random", "threading", "logging")
    program = f"import sys, mailproxy.cli; print(*[name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []
