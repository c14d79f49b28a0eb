"""Private MariaDB and PostgreSQL servers on a loopback port, for tests; each owns a temporary directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg
import pymysql

START_S = 60.0
STOP_S = 20.0


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A database server of our own; `close` stops it and removes its files.

    It runs as the distribution's user when we are root, and dies with us in any case.
    """

    user = "dovecot"
    password = "secret"
    database = "mail"
    account = ""
    """The system user to run as when we are root."""
    stop_signal = signal.SIGTERM

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mp-db-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.account, self.account)
            self._as = {"user": self.account, "group": self.account, "extra_groups": []}
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._install()
            self.start()
            self._prepare()
        except BaseException:
            self.close()
            raise

    @classmethod
    def program(cls) -> str | None:
        """Return the path of the server's program, None when it is not installed."""
        raise NotImplementedError

    @property
    def connect_string(self) -> str:
        """What a `dovecot-sql.conf` has in `connect`, with the words that both drivers know."""
        return (
            f"host={self.host} port={self.port} dbname={self.database}"
            f" user={self.user} password={self.password}"
        )

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement in the database as its owner; returns the rows, if any."""
        with contextlib.closing(self._admin(self.database)) as connection:
            return self._run(connection, sql)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                **self._as,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                self._probe()
                self._admin("").close()
                return
            except (OSError, psycopg.Error, pymysql.Error):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self._command()[0]} does not start: {self._log_end()}") from None
                time.sleep(0.02)

    def stop(self, number: signal.Signals | None = None) -> None:
        """Stop the server, with all its connections; nothing is left when this returns."""
        process, self._process = self._process, None
        if process is None:
            return
        tree = self._tree(process)
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.resume()
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number or self.stop_signal)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(tree, STOP_S)

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self.stop()
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server hang: the kernel still accepts connections, nobody answers."""
        assert self._process is not None
        tree = self._tree(self._process)
        for one in tree:
            one.suspend()
        try:
            yield
        finally:
            for one in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.resume()

    def close(self) -> None:
        """Stop the server and remove its files."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _probe(self) -> None:
        """Raise OSError while nobody listens; PyMySQL would leak its Unix socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.socket)

    @property
    def socket(self) -> str:
        """Its Unix socket."""
        raise NotImplementedError

    def _install(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _admin(self, database: str) -> Any:
        raise NotImplementedError

    def _prepare(self) -> None:
        raise NotImplementedError

    def _run(self, connection: Any, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def _once(self, *command: str) -> None:
        done = subprocess.run(
            command, capture_output=True, cwd=self.directory, timeout=START_S, check=False, **self._as
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout.decode()}{done.stderr.decode()}")

    def _tree(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        try:
            root = psutil.Process(process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _log_end(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


class MariaDb(Server):
    """A MariaDB server; `execute` is root."""

    account = "mysql"

    @classmethod
    def program(cls) -> str | None:
        """Return the path of mariadbd."""
        return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

    @property
    def socket(self) -> str:
        """Its Unix socket."""
        return str(self.directory / "s")

    def _install(self) -> None:
        self._once(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
        )

    def _command(self) -> list[str]:
        return [
            self.program() or "mariadbd",
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--tmpdir={self.directory}",
            f"--socket={self.socket}",
            f"--pid-file={self.directory / 'pid'}",
            f"--port={self.port}",
            f"--bind-address={self.host}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--innodb-buffer-pool-size=8M",
            "--innodb-flush-log-at-trx-commit=0",
        ]

    def _admin(self, database: str) -> Any:
        return pymysql.connect(
            unix_socket=self.socket,
            user="root",
            database=database or None,
            autocommit=True,
            charset="utf8mb4",
        )

    def _prepare(self) -> None:
        with contextlib.closing(self._admin("")) as connection:
            for sql in (
                f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
                f"CREATE USER {self.user}@'%' IDENTIFIED BY '{self.password}'",
                f"GRANT ALL ON {self.database}.* TO {self.user}@'%'",
            ):
                self._run(connection, sql)


class PostgreSql(Server):
    """A PostgreSQL server; `execute` is the user who owns the database."""

    account = "postgres"
    stop_signal = signal.SIGINT

    @classmethod
    def program(cls) -> str | None:
        """Return the path of the newest `postgres`."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[4]))
        return str(found[-1]) if found else shutil.which("postgres")

    def _install(self) -> None:
        self._once(
            str(Path(self.program() or "").with_name("initdb")),
            f"--pgdata={self.directory / 'data'}",
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )

    @property
    def socket(self) -> str:
        """Its Unix socket; libpq wants the directory."""
        return str(self.directory / f".s.PGSQL.{self.port}")

    def _command(self) -> list[str]:
        return [
            self.program() or "postgres",
            "-D",
            str(self.directory / "data"),
            "-k",
            str(self.directory),
            "-p",
            str(self.port),
            "-F",
            "-c",
            f"listen_addresses={self.host}",
        ]

    def _admin(self, database: str) -> Any:
        # The database's own user makes its tables, and so owns them.
        return psycopg.connect(
            host=str(self.directory),
            port=self.port,
            user=self.user if database else "postgres",
            dbname=database or "postgres",
            autocommit=True,
        )

    def _prepare(self) -> None:
        with contextlib.closing(self._admin("")) as connection:
            self._run(connection, f"CREATE ROLE {self.user} LOGIN PASSWORD '{self.password}'")
            self._run(connection, f"CREATE DATABASE {self.database} OWNER {self.user}")
