"""The command, as it is typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mailproxy
from mailproxy.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent.parent

GOOD = """\
base_dir = {folder}/base
log_path = {folder}/log
protocols = imap
ssl_disable = yes
protocol imap {{
  listen = 127.0.0.1:1
}}
auth default {{
  mechanisms = plain
  user = daemon
  passdb passwd-file {{
    args = {folder}/passwd
  }}
  userdb static {{
    args = uid=0 gid=0
  }}
}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dovecot.conf"
    path.write_text(GOOD.format(folder=tmp_path))
    (tmp_path / "passwd").write_text("")
    return path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mailproxy.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{mailproxy.__version__}\n", "")


def test_check(path: Path) -> None:
    done = run("-c", str(path), "--check")
    assert (done.returncode, done.stdout) == (0, f"{path}: the configuration is good\n")
    assert not (path.parent / "base").exists()


def test_check_tells_warnings(path: Path) -> None:
    path.write_text(path.read_text() + "mail_location = maildir:~/Maildir\n")
    done = run("-c", str(path), "--check")
    assert done.returncode == 0
    assert "Warning: ignored: a proxy has no mail storage: mail_location\n" in done.stderr


@pytest.mark.parametrize("option", ["-n", "-a"])
def test_show(path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(path), option]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"# {path}\n")
    assert f"base_dir: {path.parent}/base\n" in shown
    assert ("login_processes_count" in shown) == (option == "-a")


@pytest.mark.parametrize("options", [["--check"], ["-F"], []])
def test_every_problem_of_a_bad_configuration(path: Path, options: list[str]) -> None:
    """F11: all of them at once, with file and line, and status 89."""
    path.write_text(
        path.read_text() + "no_such_setting = 1\nlogin_processes_count = many\nprotocols = imap smtp\n"
    )
    done = run("-c", str(path), *options)
    assert done.returncode == 89
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    for line, number in zip(lines, (18, 19, 20), strict=True):
        assert line.startswith(f"Error: Error in configuration file {path} line {number}: "), lines
    assert not (path.parent / "base").exists()


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(tmp_path / "none.conf"), "--check"]) == 89
    assert str(tmp_path / "none.conf") in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-x", "--no-such-option", "extra"])
def test_an_unknown_option(option: str) -> None:
    done = run(option)
    assert done.returncode == 2
    assert option in done.stderr
    assert "usage: mailproxy" in done.stderr
