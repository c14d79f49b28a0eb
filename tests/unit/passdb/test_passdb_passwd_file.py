"""The passwd-file: its layouts, its reloading, and the paths it does not open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mailproxy.auth.database import Row
from mailproxy.base.errors import ConfigError, LookupFailure
from mailproxy.base.level import Level
from mailproxy.config.settings import DatabaseSettings
from mailproxy.passdb.passwd_file import PasswdFilePassdb

LINES: list[str] = []


def log(_level: Level, text: str) -> None:
    LINES.append(text)


def opened(path: Path | str) -> PasswdFilePassdb:
    LINES.clear()
    return PasswdFilePassdb(DatabaseSettings("passwd-file", str(path)), log)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("john:{PLAIN}pw::::::proxy host=10.0.0.1", Row(b"{PLAIN}pw", {"proxy": "", "host": "10.0.0.1"})),
        ("john:$1$salt$hash", Row(b"$1$salt$hash", {})),
        ("john:x[13]", Row(b"{CRYPT}x", {})),
        ("john:abc[34]:1:1", Row(b"{PLAIN-MD5}abc", {})),
        ("john:abc[56]", Row(b"{DIGEST-MD5}abc", {})),
        ("john", Row(b"", {})),
        ("john::::::::", Row(b"", {})),
        ("john:pw\r", Row(b"pw", {})),
        (
            "john:p:0:0:g:/home:/bin/sh:destuser=%n*proxy pass=a:b  x=%%",
            Row(b"p", {"destuser": "john*proxy", "pass": "a:b", "x": "%"}),
        ),
        ("john:p:0:0:g:/home:/bin/sh::maildir:/m", Row(b"p", {})),
    ],
)
def test_lines(tmp_path: Path, line: str, row: Row) -> None:
    """The last line needs no end."""
    path = tmp_path / "passwd"
    path.write_text(f"# comment\n\n:nobody:x\njack:pw\n{line}")
    passdb = opened(path)
    assert passdb.lookup({"u": "john", "n": "john"}) == row
    assert passdb.lookup({"u": "# comment"}) is None
    assert passdb.lookup({"u": ""}) is None
    assert passdb.lookup({"u": "joe"}) is None
    assert (passdb.blocking, passdb.cache_key, passdb.default_scheme) == (False, None, "CRYPT")
    passdb.close()


def test_the_first_of_two_wins(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    path.write_text("john:a\njohn:b\n")
    assert opened(path).lookup({"u": "john"}) == Row(b"a", {})
    assert [f"passwd-file {path}: User john exists more than once"] == LINES


def test_read_again_when_changed(tmp_path: Path) -> None:
    """S07 for a file: replaced, changed in place, gone, back."""
    path = tmp_path / "passwd"
    passdb = opened(path)
    with pytest.raises(LookupFailure, match="No such file"):
        passdb.lookup({"u": "john"})
    path.write_text("john:a\n")
    assert passdb.lookup({"u": "john"}) == Row(b"a", {})
    stat = path.stat()
    path.write_text("john:b\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert passdb.lookup({"u": "john"}) == Row(b"b", {})
    (tmp_path / "new").write_text("john:c\n")
    (tmp_path / "new").rename(path)
    assert passdb.lookup({"u": "john"}) == Row(b"c", {})
    path.unlink()
    with pytest.raises(LookupFailure):
        passdb.lookup({"u": "john"})


def test_domain_in_the_path(tmp_path: Path) -> None:
    """With a plain `%d` in the path, the file holds the part before the `@`."""
    (tmp_path / "example.com").mkdir()
    (tmp_path / "example.com/passwd").write_text("john:a\n")
    passdb = opened(tmp_path / "%d/passwd")
    assert passdb.lookup({"u": "john@example.com", "n": "john", "d": "example.com"}) == Row(b"a", {})
    assert passdb.lookup({"u": "john@example.org", "n": "john", "d": "example.org"}) is None
    (tmp_path / "example.com/full").write_text("john@Example.COM:b\n")
    full = opened(tmp_path / "%Ld/full")
    assert full.lookup({"u": "john@Example.COM", "n": "john", "d": "Example.COM"}) == Row(b"b", {})


@pytest.mark.parametrize(
    "domain", ["..", ".", "", "../up", "a/../..", "/", ".hidden", "a\0b", "a\n", "a\x7f"]
)
def test_a_domain_leads_nowhere_else(tmp_path: Path, domain: str) -> None:
    """C15: a tempting file one level up, and beside, is not opened."""
    (tmp_path / "domains/.hidden").mkdir(parents=True)
    for place in (".", "domains", "domains/.hidden"):
        (tmp_path / place / "passwd").write_text("john:tempting\n")
    passdb = opened(tmp_path / "domains/%d/passwd")
    assert passdb.lookup({"u": f"john@{domain}", "n": "john", "d": domain}) is None


@pytest.mark.parametrize(("args", "reason"), [("", "path not given"), ("/etc/%q", "Unknown variable '%q'")])
def test_refused_at_start(args: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        opened(args)
