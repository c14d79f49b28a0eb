"""The documents say what is there, and everything that they name exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import PACKAGE, ROOT, files

ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
README = (ROOT / "README.md").read_text()
COMMAND = (ROOT / "man" / "mailproxy.8").read_text()
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")
PAGES = sorted(path.name for path in (ROOT / "man").iterdir())
# Places on the administrator's machine, not in the tree.
_ELSEWHERE = ("/", "login_dir/")


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _options() -> set[str]:
    """Every option that the command knows, as its help shows them."""
    shown = subprocess.run(
        [sys.executable, "-m", "mailproxy.cli", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"(?<![\w-])(-[A-Za-z]|--[a-z-]+)(?![\w-])", shown.stdout.partition("\n\n")[2]))


def test_every_room_is_in_the_architecture() -> None:
    rooms = {f"mailproxy/{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    rooms |= {f"mailproxy/{path.name}" for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    named = set(re.findall(r"`(mailproxy/[^`]+)`", ARCHITECTURE))
    assert named == rooms


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_documents_name_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`([\w.-]+/[\w./-]*)`", text))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    # In a line that is a command, such as `man man/mailproxy.8`.
    named |= set(re.findall(r"(?<![\w./-])((?:etc|man)/[\w./-]*\w)", text))
    missing = [
        name
        for name in sorted(named)
        if not name.startswith(_ELSEWHERE) and not any((base / name).exists() for base in _bases())
    ]
    assert not missing


def _bases() -> tuple[Path, ...]:
    return ROOT, PACKAGE, ROOT / "tests"


def test_commands_of_the_readme_exist() -> None:
    named = set(re.findall(r"(?:^ *|`)make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test"} <= named <= _targets()


def test_options_of_the_readme_exist() -> None:
    named = set(re.findall(r"(?:^ *|`)mailproxy (-[-\w]+)", README, re.MULTILINE))
    assert {"--check", "-F"} <= named <= _options()


def test_options_are_in_the_manual() -> None:
    """Each option has its entry, and no entry is for an option that is gone."""
    entries = re.findall(r"^\.It (Fl .*)$", COMMAND, re.MULTILINE)
    described = {
        "-" + name.replace("\\-", "-") for entry in entries for name in re.findall(r"Fl (\S+)", entry)
    }
    assert described == _options()


def test_commands_of_mailproxyctl_are_in_its_manual() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "mailproxy.ctl", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    known = re.findall(r"^    ([a-z]+) ", shown.stdout, re.MULTILINE)
    described = re.findall(r"^\.It Ic ([a-z]+)", (ROOT / "man" / "mailproxyctl.8").read_text(), re.MULTILINE)
    assert len(known) > 4
    assert described == known


def test_log_lines_of_the_manual_are_those_of_the_program() -> None:
    """An administrator searches for these words."""
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    phrases = re.findall(r'^\.It Li "(.+)"$', COMMAND, re.MULTILINE)
    assert len(phrases) > 20
    assert [phrase for phrase in phrases if phrase not in sources] == []


def test_signals_of_the_manual_are_those_of_the_program() -> None:
    handled = {
        name
        for shell in ("master", "auth")
        for name in re.findall(
            r"signal\.(SIG\w+): ", (PACKAGE / "process" / shell).with_suffix(".py").read_text()
        )
    }
    described = {
        name
        for entry in re.findall(r"^\.It Dv (.*)$", COMMAND, re.MULTILINE)
        for name in re.findall(r"SIG\w+", entry)
    }
    assert described == handled - {"SIGCHLD"}


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_manual_pages_are_clean(page: str) -> None:
    lint = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", str(ROOT / "man" / page)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.stdout + lint.stderr == ""


@pytest.mark.parametrize("page", PAGES)
def test_pages_refer_to_pages_that_exist(page: str) -> None:
    """To our own or to those of the system's library."""
    references = re.findall(r"^\.Xr (\S+) (\d)", (ROOT / "man" / page).read_text(), re.MULTILINE)
    ours = [f"{name.replace(chr(92), '')}.{section}" for name, section in references if section != "3"]
    assert set(ours) <= set(PAGES)


def test_the_changes_are_for_administrators() -> None:
    """One open section on top, and every bullet is a whole sentence."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "Unreleased"
    bullets = re.findall(r"^- ((?:.|\n(?![-\n#]))*)", text, re.MULTILINE)
    assert bullets
    assert [bullet for bullet in bullets if not bullet.rstrip().endswith(".")] == []


def test_documents_keep_to_short_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        if path.suffix == ".md"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")
    ]
    assert not long
