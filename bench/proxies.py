"""How mailproxy and Dovecot are set up to be measured alike: the same users, query, workers and log lines."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

from bench.sink import Sink
from bench.target import HOST, Started, free_ports, unprivileged

DOVECOT = "/usr/sbin/dovecot"
# In the mode of a process for each connection. Where clients outrun forking, the number of spare processes
# doubles each second, up to this: few enough that the warm-up gets there, and each login then costs one fork.
_MOST_PROCESSES = 128

QUERY = (
    "SELECT NULL AS password, {extra}host, destuser, 'Y' AS proxy,"
    " CASE '%s' WHEN 'imap' THEN imap_port ELSE pop3_port END AS port FROM proxy WHERE username = '%u'"
)
TABLE = (
    "CREATE TABLE proxy (username varchar(255) NOT NULL PRIMARY KEY, host varchar(64) NOT NULL,"
    " destuser varchar(255) NOT NULL, imap_port integer, pop3_port integer)"
)

_MAILPROXY = """\
base_dir = {folder}/base
log_path = {folder}/log
protocols = imap pop3
ssl_disable = yes
disable_plaintext_auth = no
login_user = {login_user}
login_process_per_connection = {per_connection}
login_processes_count = {workers}
login_max_processes_count = {most}
login_max_connections = 20000
login_process_size = 0
auth_cache_size = {cache_kib}
auth_count = {auth_count}
auth_process_size = 0
{settings}
protocol imap {{
  listen = {host}:{imap_port}
}}
protocol pop3 {{
  listen = {host}:{pop3_port}
}}
auth default {{
  mechanisms = plain
  user = {auth_user}
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb sql {{
    args = {folder}/dovecot-sql.conf
  }}
}}
"""

_DOVECOT = """\
base_dir = {folder}/base
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap pop3
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = {cache_kib}k
auth_cache_ttl = 1 hour
default_client_limit = 19000
default_vsz_limit = 2G
service imap-login {{
  service_count = {service_count}
  process_min_avail = {workers}
  process_limit = {most}
  client_limit = {clients}
  inet_listener imap {{
    address = {host}
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  service_count = {service_count}
  process_min_avail = {workers}
  process_limit = {most}
  client_limit = {clients}
  inet_listener pop3 {{
    address = {host}
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
passdb {{
  driver = sql
  args = {folder}/dovecot-sql.conf
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup
}}
"""


def fill_sqlite(path: Path, sink: Sink, users: int) -> str:
    """Write the table into a new file; returns the lines of `dovecot-sql.conf` that lead there."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(TABLE)
        database.executemany("INSERT INTO proxy VALUES (?, ?, ?, ?, ?)", rows(sink, users))
    path.chmod(0o644)
    return f"driver = sqlite\nconnect = {path}\n"


def rows(sink: Sink, users: int) -> list[tuple[str, str, str, int, int]]:
    """The users `bench0` and so on, all of them at the sink."""
    return [(f"bench{n}", HOST, "", sink.imap_port, sink.pop3_port) for n in range(users)]


def start_mailproxy(
    name: str,
    folder: Path,
    sql: str,
    *,
    per_connection: bool = False,
    workers: int = 2,
    cache_kib: int = 65536,
    auth_count: int = 1,
    settings: str = "",
) -> Started:
    """Start the mailproxy of this checkout; `sql` is what `fill_sqlite` returned."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    login_user, auth_user = unprivileged()
    with free_ports(2) as (imap_port, pop3_port):
        text = _MAILPROXY.format(
            folder=folder,
            host=HOST,
            imap_port=imap_port,
            pop3_port=pop3_port,
            login_user=login_user,
            auth_user=auth_user,
            per_connection="yes" if per_connection else "no",
            workers=workers,
            most=_MOST_PROCESSES if per_connection else workers,
            cache_kib=cache_kib,
            auth_count=auth_count,
            settings=settings,
        )
    (folder / "dovecot.conf").write_text(text)
    _write_sql(folder, sql, "")
    command = [sys.executable, "-m", "mailproxy.cli", "-F", "-c", str(folder / "dovecot.conf")]
    target = Started(name, command, folder, imap_port, pop3_port)
    target.most_sessions = _MOST_PROCESSES - workers if per_connection else 20000 * workers
    return target


def start_dovecot(
    name: str,
    folder: Path,
    sql: str,
    *,
    per_connection: bool = False,
    workers: int = 2,
    cache_kib: int = 65536,
) -> Started:
    """Start the system's Dovecot 2.3, for which we have to be root."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with free_ports(2) as (imap_port, pop3_port):
        text = _DOVECOT.format(
            folder=folder,
            host=HOST,
            imap_port=imap_port,
            pop3_port=pop3_port,
            service_count=int(per_connection),
            workers=workers,
            most=_MOST_PROCESSES if per_connection else workers,
            clients=1 if per_connection else 9000,
            cache_kib=cache_kib,
        )
    (folder / "dovecot.conf").write_text(text)
    _write_sql(folder, sql, "'Y' AS nopassword, ")
    command = [DOVECOT, "-F", "-c", str(folder / "dovecot.conf")]
    target = Started(name, command, folder, imap_port, pop3_port)
    target.most_sessions = _MOST_PROCESSES - 64 if per_connection else 18000
    return target


def has_dovecot() -> bool:
    """Whether a Dovecot can be measured beside."""
    return os.geteuid() == 0 and os.access(DOVECOT, os.X_OK)


def _write_sql(folder: Path, sql: str, extra: str) -> None:
    path = folder / "dovecot-sql.conf"
    path.write_text(f"{sql}password_query = {QUERY.format(extra=extra)}\n")
    path.chmod(0o600)
