"""The userdb drivers; what needs a database server is in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailproxy.auth.database import Userdb
from mailproxy.base.errors import ConfigError, LookupFailure
from mailproxy.base.level import Level
from mailproxy.config.settings import DatabaseSettings
from mailproxy.userdb import DRIVERS, open_userdb
from mailproxy.userdb.prefetch import prefetched


def log(level: Level, text: str) -> None:
    raise AssertionError((level, text))


def opened(driver: str, args: str = "") -> Userdb:
    return open_userdb(DatabaseSettings(driver, args, file="dovecot.conf", line=7), log)


def test_unknown_driver() -> None:
    with pytest.raises(ConfigError, match=r"line 7: Unknown userdb driver 'vpopmai' .*prefetch, sql"):
        opened("vpopmai")
    assert set(DRIVERS) == {"static", "prefetch", "sql", "passwd-file"}


def test_static_of_the_document() -> None:
    userdb = opened("static", "uid=0 gid=0")
    assert userdb.lookup({"u": "john"}) == {"uid": "0", "gid": "0"}
    userdb.close()


def test_static_names_and_variables() -> None:
    userdb = opened("static", "uid=root gid=root home=/home/%n allow_all_users=yes")
    assert userdb.lookup({"u": "john@a", "n": "john"}) == {"uid": "0", "gid": "0", "home": "/home/john"}


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ("gid=0", "static userdb: uid missing"),
        ("uid=0", "static userdb: gid missing"),
        ("uid= gid=0", "static userdb: uid missing"),
        ("uid=no-such-user gid=0", "static userdb: Invalid uid 'no-such-user'"),
        ("uid=0 gid=0 home=%q", "static userdb: Unknown variable '%q' in home"),
    ],
)
def test_static_refused(args: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opened("static", args)
    assert str(caught.value) == f"Error in configuration file dovecot.conf line 7: {reason}"


def test_prefetch() -> None:
    assert opened("prefetch").lookup({"u": "john"}) is None
    assert prefetched({"host": "x", "userdb_uid": "5", "userdb_home": "/h"}) == {"uid": "5", "home": "/h"}
    assert prefetched({"host": "x"}) is None


def test_passwd_file(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    path.write_text(
        "john:pw:root:0:gecos:/home/john:/bin/sh:proxy userdb_quota=%n userdb_home=/other\n"
        "older:pw:1:1::/h:::maildir:/m\n"
        "bad:pw:no-such-user:1\n"
        "bare\n"
    )
    userdb = opened("passwd-file", str(path))
    assert userdb.lookup({"u": "john", "n": "john"}) == {
        "uid": "0",
        "gid": "0",
        "home": "/other",
        "quota": "john",
    }
    assert userdb.lookup({"u": "older"}) == {"uid": "1", "gid": "1", "home": "/h", "mail": "maildir:/m"}
    assert userdb.lookup({"u": "bare"}) == {}
    assert userdb.lookup({"u": "jack"}) is None
    with pytest.raises(LookupFailure, match="Invalid uid"):
        userdb.lookup({"u": "bad"})
