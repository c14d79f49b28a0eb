"""Files with secrets: who may read them, and who does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.arena import MAIN
from tests.harness.proxy import Proxy
from tests.harness.wait import wait_until
from tests.process.conftest import NewArena
from tests.process.look import pids, try_login
from tests.process.test_reload import replace_in_configuration

DATABASE, USER = "Database-Secret-66", "User-Secret-77"
SQL = f"driver = mysql\nconnect = host=127.0.0.1 port=1 dbname=mail user=mailproxy password={DATABASE}\n"
QUERY = "password_query = SELECT password, host, 'Y' AS proxy FROM proxy WHERE user = '%u'\n"
PASSDB = "  passdb passwd-file {{\n    args = {}\n  }}\n"
WARNING = "Warning: {} holds secrets and is readable by every user: chmod 0640 or less\n"


def test_what_all_can_read_is_named_in_the_log() -> None:
    """V11: at each start and reload, until it is mended; what stands in the file is in no log."""
    with Proxy([DATABASE, USER]) as proxy:
        passwd = proxy.folder / "passwd"
        passwd.write_text(f"joe:{{PLAIN}}{USER}\n")
        auth = PASSDB.format(passwd)
        proxy.write(
            MAIN.format(settings="", per_connection="no", mechanisms="plain", sql=proxy.sql, auth=auth),
            SQL + QUERY,
        )
        files = (proxy.sql, passwd)

        def start_with(mode: int, warned: int) -> None:
            for file in files:
                file.chmod(mode)
            if not proxy.pid:
                proxy.start()
            else:
                old = {process.pid for process in proxy.children("auth")}
                proxy.sighup()
                wait_until("auth is new", lambda: not old & {one.pid for one in proxy.children("auth")})
            assert [proxy.log_text().count(WARNING.format(file)) for file in files] == [warned, warned]

        start_with(0o644, 1)
        start_with(0o640, 1)
        start_with(0o604, 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user has no privileges to drop")
def test_auth_reads_what_it_may_not_read_later(new_arena: NewArena) -> None:
    """V11: the SQL file may be root's alone: read before auth gives its rights up, at each of its starts."""
    arena = new_arena()
    closed = arena.proxy.folder / "closed"
    closed.mkdir(0o700)
    inside = arena.proxy.sql.rename(closed / "sql.conf")
    replace_in_configuration(arena, f"args = {arena.proxy.sql}", f"args = {inside}")
    old = pids(arena, "auth")
    arena.proxy.sighup()
    wait_until("auth is new", lambda: not pids(arena, "auth") & old)
    assert try_login(arena).startswith(b"a1 OK ")
    arena.proxy.kill("auth")
    wait_until("auth is back", lambda: try_login(arena).startswith(b"a1 OK "))
    (auth,) = arena.proxy.children("auth")
    assert auth.username() == "nobody"
    assert not is_readable(inside, "nobody")


def is_readable(path: Path, user: str) -> bool:
    """Tell whether a process of that user opens the file."""
    words = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", "cat", str(path)]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=10, check=False)
    assert done.returncode == 0 or b"Permission denied" in done.stderr, done.stderr
    return done.returncode == 0
