"""The project's own files, as the house tests read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mailproxy"
# What tools, `make run` and installations leave behind.
_MADE = frozenset((".git", ".venv", "run", "build", "dist", "__pycache__", ".hypothesis"))


def files() -> list[Path]:
    """Every file of the project that somebody has written."""
    return sorted(path for path in ROOT.rglob("*") if path.is_file() and not _is_made(path))


def _is_made(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any(part in _MADE or part.endswith((".egg-info", "_cache")) for part in parts)


class Import(NamedTuple):
    """One name that a module imports."""

    importer: str
    """Dotted name of the module, `mailproxy.net.relay`."""
    imported: str
    """Dotted name of a module, or of something in one."""
    where: str
    """For messages, `mailproxy/net/relay.py:12`."""
    in_function: bool
    for_types: bool
    """Under `if TYPE_CHECKING:`, so that it never happens."""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> list[Import]:
    """Every import of the package."""
    return [found for name, path in modules().items() for found in _imports_of(name, path)]


def _imports_of(importer: str, path: Path) -> Iterator[Import]:
    def walk(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield Import(importer, name, where, in_function, for_types)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            in_function = True
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for_types = True
        for child in ast.iter_child_nodes(node):
            yield from walk(child, in_function, for_types)

    return walk(ast.parse(path.read_text()), False, False)
