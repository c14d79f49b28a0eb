"""The real auth process in a forked child, and a client that speaks its protocol."""

from __future__ import annotations

import base64
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mailproxy.auth.database import Passdb, Row, Values
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.config.settings import AuthSettings, DatabaseSettings
from mailproxy.ipc.status import Order, State, Status, parse_status, render_order
from mailproxy.process import auth
from mailproxy.process.question import Question

CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@"
DEADLINE_S = 10.0

SETTINGS = AuthSettings(
    name="default",
    mechanisms=("PLAIN",),
    realms=(),
    default_realm="",
    cache_size_bytes=0,
    cache_ttl_s=3600,
    cache_negative_ttl_s=3600,
    user="root",
    chroot="",
    username_chars=CHARS,
    username_translation="",
    username_format="",
    master_user_separator="",
    anonymous_username="anonymous",
    verbose=True,
    debug=False,
    debug_passwords=False,
    ssl_require_client_cert=False,
    ssl_username_from_cert=False,
    count=1,
    proxy_balance="first",
    worker_max_count=30,
    process_size_mib=256,
    passdbs=(DatabaseSettings("table", ""),),
    userdbs=(),
    client_sockets=(),
)


class Table:
    """A passdb whose rows are given; `failure` makes it fail, `delay_s` makes it slow."""

    def __init__(
        self,
        rows: dict[str, Row],
        *,
        driver: str = "table",
        scheme: str = "PLAIN",
        blocking: bool = False,
        key: tuple[str, ...] | None = ("u",),
    ) -> None:
        self.driver = driver
        self.default_scheme = scheme
        self.blocking = blocking
        self.cache_key = key
        self.rows = rows
        self.failure = ""
        self.asked: list[str] = []
        self.seen: list[dict[str, str]] = []
        self.gate: threading.Event | None = None

    def lookup(self, values: Values) -> Row | None:
        self.asked.append(values["u"])
        self.seen.append(dict(values))
        if self.gate is not None:
            self.gate.wait(DEADLINE_S)
        if self.failure:
            raise LookupFailure(self.failure)
        return self.rows.get(values["u"])

    def close(self) -> None:
        pass


def plain(user: bytes, password: bytes, acts_as: bytes = b"") -> bytes:
    return base64.b64encode(b"%s\0%s\0%s" % (acts_as, user, password))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.005)


class Connection:
    """A login worker's side of one auth connection."""

    def __init__(self, path: str, pid: int = 4711, greet: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(path)
        self._data = b""
        self.greeting: list[bytes] = []
        if greet:
            self.send(b"VERSION\t1\t0\nCPID\t%d\n" % pid)
            while not self.greeting or self.greeting[-1] != b"DONE":
                self.greeting.append(self.line())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, request_id: int, response: bytes, mechanism: bytes = b"PLAIN") -> None:
        parameters = b"service=imap\tlip=127.0.0.1\trip=10.0.0.5"
        self.send(b"AUTH\t%d\t%s\t%s\tresp=%s\n" % (request_id, mechanism, parameters, response))

    def line(self) -> bytes:
        while b"\n" not in self._data:
            data = self.socket.recv(65536)
            if not data:
                return b""
            self._data += data
        line, _, self._data = self._data.partition(b"\n")
        return line

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


class AuthChild:
    """Forks `process.auth.run`; log lines are collected in a file."""

    def __init__(
        self,
        where: Path,
        settings: AuthSettings,
        passdbs: list[Passdb] | None = None,
        questions: dict[str, Question] | None = None,
    ) -> None:
        self._questions = questions or {}
        self.path = str(where / "auth")
        self._log_path = where / "log"
        self._log_path.touch()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(64)
        self.master, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.master.settimeout(DEADLINE_S)
        if passdbs is not None:
            settings = replace(settings, passdbs=settings.passdbs * len(passdbs))
        self._clients: list[Connection] = []
        self.pid = os.fork()
        self.status: int | None = None
        if self.pid == 0:
            self.master.close()
            os._exit(self._run(settings, listener, channel, passdbs))
        channel.close()
        listener.close()

    def _run(
        self,
        settings: AuthSettings,
        listener: socket.socket,
        channel: socket.socket,
        passdbs: list[Passdb] | None,
    ) -> int:
        log_fd = os.open(self._log_path, os.O_WRONLY | os.O_APPEND)

        def log(level: Level, text: str) -> None:
            os.write(log_fd, f"{level.value} {text}\n".encode())

        if passdbs is not None:
            opened = iter(passdbs)
            vars(auth)["open_passdb"] = lambda database, log: next(opened)
        try:
            auth.run(settings, [listener], channel, log, lambda: None, self._questions)
        except SystemExit as leaving:
            return int(str(leaving.code))
        except BaseException as error:
            log(Level.FATAL, repr(error))
            return 1
        return 0

    def ready(self) -> Status:
        return parse_status(self.master.recv(64))

    def connect(self, pid: int = 4711) -> Connection:
        client = Connection(self.path, pid)
        self._clients.append(client)
        return client

    def log(self) -> list[str]:
        return self._log_path.read_text().splitlines()

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: any(text in line for line in self.log()))

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def retire(self) -> None:
        self.master.send(render_order(Order.RETIRE))

    def exit_code(self) -> int:
        if self.status is None:
            result = 0

            def ended() -> bool:
                nonlocal result
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                result = os.waitstatus_to_exitcode(status) if pid else 0
                return pid != 0

            wait_until(ended)
            self.status = result
        return self.status

    def __enter__(self) -> AuthChild:
        assert self.ready() == Status(State.LISTENING, 0, 0)
        return self

    def __exit__(self, *_error: object) -> None:
        self.master.close()
        for client in self._clients:
            client.close()
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.exit_code()
