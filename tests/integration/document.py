"""The founding document's example: its table, its rows and its two files.

Only paths, addresses and the database's port differ, and the wrapped lines are whole again.
"""

from __future__ import annotations

from tests.harness.databases import Server
from tests.harness.dovecot import DovecotBackend
from tests.harness.proxy import Proxy

TABLE = """\
CREATE TABLE proxy (
  user varchar(255) NOT NULL,
  host varchar(16) default NULL,
  destuser varchar(255) NOT NULL default '',
  PRIMARY KEY  (user)
)"""

MAIN = """\
# If you want to trade a bit of security for higher performance, change these settings:
login_process_per_connection = {per_connection}
login_processes_count = 20

# If you are not moving mailboxes from host to one on daily basis you can
# use authentication cache pretty safely.
auth_cache_size = 4096

auth default {{
  mechanisms = {mechanisms}

  # dovecot-auth only needs to be able to connect to SQL
  user = nobody

  # Userdb settings are not used with proxy but there need to be something.
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb sql {{
    args = {sql}
  }}
}}
"""

SQL = """\
# Database driver: mysql, pgsql
driver = {driver}

# Database connect string.
# Only MySQL driver support multiple hosts for now.
connect = {connect}

# Query
password_query = {query}
"""

QUERY = "SELECT NULL AS password, host, destuser, 'Y' AS proxy{port} FROM proxy WHERE {user} = '%u'"

JOHN, JOE = "john", "joe"
PASSWORDS = {JOHN: "John-Pw7Q", JOE: "Joe-Pw8R"}
JOE_THERE = "joe@example.com"


def rows(one: DovecotBackend, two: DovecotBackend) -> list[tuple[str, str | None, str]]:
    """Return the two rows of the document, with the addresses of our backends."""
    return [(JOHN, one.host, ""), (JOE, two.host, JOE_THERE)]


def for_driver(driver: str, text: str) -> str:
    """Quote `user` for PostgreSQL, where the bare word means the database's own user."""
    return (
        text.replace("  user varchar", '  "user" varchar').replace("(user)", '("user")')
        if driver == "pgsql"
        else text
    )


def query(driver: str, one: DovecotBackend) -> str:
    """Return the document's query; a plain user's backends need a port, root's have the default ones."""
    port = ""
    if not one.is_root:
        port = f", CASE '%s' WHEN 'imap' THEN {one.imap_port} ELSE {one.pop3_port} END AS port"
    return QUERY.format(port=port, user='"user"' if driver == "pgsql" else "user")


def fill(server: Server, driver: str, one: DovecotBackend, two: DovecotBackend) -> None:
    """Make the document's table in a database server, and its two rows."""
    server.execute(for_driver(driver, TABLE))
    for user, host, destuser in rows(one, two):
        server.execute(f"INSERT INTO proxy VALUES ('{user}', '{host}', '{destuser}')")


def configure(
    proxy: Proxy,
    driver: str,
    connect: str,
    password_query: str,
    *,
    per_connection: bool = False,
    mechanisms: str = "plain",
    more: str = "",
) -> None:
    """Write the two files."""
    main = MAIN.format(per_connection="yes" if per_connection else "no", mechanisms=mechanisms, sql=proxy.sql)
    proxy.write(main + more, SQL.format(driver=driver, connect=connect, query=password_query))
