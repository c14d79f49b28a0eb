"""One proxy between scripted backends, its users in an SQLite table: where faults are provoked."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Self

from tests.harness.proxy import Proxy
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import ScriptedBackend, imap_echo, pop3_echo

TABLE = """\
CREATE TABLE users (
  user text NOT NULL,
  password text,
  host text,
  imap_port integer,
  pop3_port integer,
  destuser text NOT NULL DEFAULT '',
  pass text
)"""

QUERY = (
    "SELECT password, host, destuser, pass, 'Y' AS proxy, 'Y' AS nodelay,"
    " CASE '%s' WHEN 'imap' THEN imap_port ELSE pop3_port END AS port FROM users WHERE user = '%u'"
)

MAIN = """\
login_process_per_connection = {per_connection}
login_processes_count = 1
login_max_connections = 4000
auth_verbose = yes
auth_debug = yes
{settings}
auth default {{
  mechanisms = {mechanisms}
  user = nobody
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb sql {{
    args = {sql}
  }}
{auth}}}
"""

SQL = """\
driver = sqlite
connect = {database}
default_pass_scheme = PLAIN
password_query = {query}
"""


class Arena:
    """Runs from `start` to `close`.

    `imap` and `pop3` are the backends that scripts make hostile: john is there with whatever password, mary
    with MARY. The house backends never misbehave: guest and bystander are there.
    """

    JOHN = b"John-Secret-11"
    MARY = b"Mary-Secret-22"
    GUEST = b"Guest-Secret-33"

    def __init__(
        self,
        settings: str = "",
        query: str = QUERY,
        mechanisms: str = "plain login cram-md5",
        auth: str = "",
        per_connection: bool = False,
    ) -> None:
        """`settings` stand above the auth section and `auth` ends it; FOLDER in it is the proxy's."""
        self.per_connection = per_connection
        self._close = contextlib.ExitStack()
        enter = self._close.enter_context
        self.imap = enter(ScriptedBackend(imap_echo))
        self.pop3 = enter(ScriptedBackend(pop3_echo))
        self.house_imap = enter(ScriptedBackend(imap_echo))
        self.house_pop3 = enter(ScriptedBackend(pop3_echo))
        self.proxy = enter(Proxy(word.decode() for word in (self.JOHN, self.MARY, self.GUEST)))
        self.path = self.proxy.folder / "users.sqlite"
        self.database = sqlite3.connect(self.path, isolation_level=None)
        self._close.callback(self.database.close)
        self.database.execute(TABLE)
        self.path.chmod(0o644)
        self.add("john", None)
        self.add("mary", self.MARY.decode())
        for user in ("guest", "bystander"):
            self.add(user, self.GUEST.decode(), self.house_imap.port, self.house_pop3.port)
        auth = auth.replace("FOLDER", str(self.proxy.folder))
        self.proxy.write(
            MAIN.format(
                per_connection="yes" if per_connection else "no",
                settings=settings,
                mechanisms=mechanisms,
                sql=self.proxy.sql,
                auth=auth,
            ),
            SQL.format(database=self.path, query=query),
        )

    def start(self) -> Self:
        """Start the proxy and wait until it greets."""
        self.proxy.start()
        return self

    def add(
        self,
        user: str | bytes,
        password: str | bytes | None,
        imap_port: int | str | None = None,
        pop3_port: int | str | None = None,
        **more: str | bytes | None,
    ) -> None:
        """Insert a row; without ports the user is at the scripted backends. `more` are other columns."""
        row = {
            "user": user,
            "password": password,
            "host": "127.0.0.1",
            "imap_port": self.imap.port if imap_port is None else imap_port,
            "pop3_port": self.pop3.port if pop3_port is None else pop3_port,
            "destuser": "",
            **{"pass" if name == "pass_" else name: value for name, value in more.items()},
        }
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        self.database.execute(f"INSERT INTO users ({columns}) VALUES ({marks})", tuple(row.values()))

    def client(self, protocol: str = "imap", **more: str) -> RawClient:
        """Connect to one of the two ports and take the greeting."""
        return RawClient(self.proxy.imap_port if protocol == "imap" else self.proxy.pop3_port, **more)  # type: ignore[arg-type]

    def login(self, protocol: str, user: bytes, password: bytes) -> RawClient:
        """Log in, which has to work, by words that need no quoting."""
        client = self.client(protocol)
        if protocol == "imap":
            reply = client.ask(b"a1 LOGIN %s %s\r\n" % (user, password))
            assert reply.startswith(b"a1 OK "), reply
        else:
            assert client.ask(b"USER %s\r\n" % user) == b"+OK"
            reply = client.ask(b"PASS %s\r\n" % password)
            assert reply.startswith(b"+OK"), reply
        return client

    def check(self) -> None:
        """Raise what went wrong in a backend's script."""
        for backend in (self.imap, self.pop3, self.house_imap, self.house_pop3):
            backend.check()

    def close(self) -> None:
        """Stop everything; the proxy's own checks are made."""
        self._close.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.close()
