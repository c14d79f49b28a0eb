"""What must not be found in the tree."""

from __future__ import annotations

import ast

import pytest

from tests.house.tree import PACKAGE, ROOT, files, modules

# In pieces, so that this file does not hold what it looks for.
PATHS = ("/" + "work/", "/" + "root/", "/tmp/" + "probe")
REGISTRIES = (
    *("pypi" + ".org", "python" + "hosted.org", "registry." + "npm", "proxy." + "golang"),
    *("crates" + ".io", "docker" + ".io", "ghcr" + ".io", "quay" + ".io", "conda" + ".org"),
    *("index" + "-url", "deb." + "debian.org", "artif" + "actory"),
)
MAX_LINES = 400
MAY_REVEAL = {"mailproxy/proto/imap/backend.py", "mailproxy/proto/pop3/backend.py"}


@pytest.mark.parametrize("leaks", [PATHS, REGISTRIES], ids=["paths", "registries"])
def test_no_word_of_the_machine_it_was_written_on(leaks: tuple[str, ...]) -> None:
    offenders = []
    for path in files():
        text = path.read_bytes().decode("utf-8", "replace").lower()
        offenders += [f"{path.relative_to(ROOT)} holds {leak}" for leak in leaks if leak in text]
    assert not offenders, "\n".join(offenders)


def test_files_stay_readable() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    long = [f"{path.relative_to(ROOT)}: {count} lines" for path, count in lines.items() if count > MAX_LINES]
    assert not long, "\n".join(long)


def test_secrets_are_revealed_in_few_places() -> None:
    """A password becomes bytes only where it is written to a backend."""
    revealing = set()
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "reveal":
                revealing.add(str(path.relative_to(ROOT)))
    assert revealing == MAY_REVEAL
