"""A dovecot.conf, read, checked and frozen."""

from __future__ import annotations

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.config.build import build, main_protocol
from mailproxy.config.checks import check, warn
from mailproxy.config.lexer import Lexer
from mailproxy.config.settings import Settings
from mailproxy.config.spec import Table
from mailproxy.config.tree import Tree

DEFAULT_PATH = "/etc/mailproxy/dovecot.conf"


def load(path: str) -> Settings:
    """Read and check a configuration. Raises ConfigError with everything that is wrong with it.

    Opens no file but those of the configuration and resolves no name; the SQL files are left to auth.
    """
    problems: list[Problem] = []
    tree = read_tree(path, problems)
    if tree:
        check(tree, problems)
    if tree is None or problems:
        raise ConfigError(in_file_order(problems))
    return build(tree, path, warn(tree))


def read_tree(path: str, problems: list[Problem]) -> Tree | None:
    """Read a configuration without looking at what its values mean together; None if it cannot be opened."""
    tree = Tree(Table("dovecot.configspec"), problems)
    if not Lexer(tree, problems).read(path):
        return None
    tree.finish()
    return tree


def find_base_dir(path: str) -> str:
    """Return `base_dir`, also of a configuration with problems. Raises ConfigError if there is no file."""
    problems: list[Problem] = []
    tree = read_tree(path, problems)
    if tree is None:
        raise ConfigError(problems)
    base_dir: str = tree.root["protocol"][main_protocol(tree)]["base_dir"]
    return base_dir


def in_file_order(problems: list[Problem]) -> list[Problem]:
    """Drop repetitions and sort by place; what has no place comes last."""
    files = {
        file: number for number, file in enumerate(dict.fromkeys(one.file for one in problems if one.file))
    }
    return sorted(dict.fromkeys(problems), key=lambda one: (files.get(one.file, len(files)), one.line))
