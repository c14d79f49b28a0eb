"""Where a scenario is played: a proxy before a backend that carries thousands, and the load around it."""

from __future__ import annotations

import contextlib
import time
from typing import Self

from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.process.look import guest, pids
from tests.stress import load
from tests.stress.apart import Apart
from tests.stress.echo import EchoPorts, serve_echo
from tests.stress.figures import Figures
from tests.stress.scale import Scale
from tests.stress.witness import Witness

WORKERS = 4
# Auth keeps a thread and a database handle for as many lookups as ever ran at once: few, so that all are
# there before the first look.
_AUTH_THREADS = 4


class Stage:
    """Runs as a context; at the end of a scenario that went well `close_books` looks at the processes."""

    def __init__(self, scenario: str, mode: str, scale: Scale, *settings: str) -> None:
        self.scale = scale
        self.mode = mode
        self.figures = Figures(scenario, mode)
        self.arena = Arena(
            "\n".join(
                (
                    "auth_debug = no",
                    "disable_plaintext_auth = no",
                    MODES[mode],
                    f"login_processes_count = {WORKERS}",
                    "login_max_processes_count = 1000",
                    *settings,
                )
            ),
            auth=f"  worker_max_count = {_AUTH_THREADS}\n",
        )
        self._close = contextlib.ExitStack()
        self.witness: Witness

    def __enter__(self) -> Self:
        with self._close:
            self._close.callback(self.arena.close)
            ports: EchoPorts = self._close.enter_context(Apart(serve_echo)).wait_ready()
            self.arena.add(load.USER.decode(), load.PASSWORD.decode(), ports.imap, ports.pop3)
            self.arena.proxy.secrets.add(load.PASSWORD.decode())
            self.arena.start()
            self.warm_up()
            self._close = self._close.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._close.close()

    @property
    def port(self) -> int:
        """Where IMAP is served."""
        return self.arena.proxy.imap_port

    def warm_up(self) -> None:
        """Have each process meet what it will meet, and auth open all it ever opens; then look."""
        for protocol in ("imap", "pop3"):
            for client in [guest(self.arena, protocol) for _ in range(5 * WORKERS)]:
                client.close()
        clients = [RawClient(self.port) for _ in range(3 * _AUTH_THREADS)]
        (auth,) = self.arena.proxy.children("auth")
        self.arena.database.execute("BEGIN EXCLUSIVE")
        try:
            for client in clients:
                client.send(b"a1 LOGIN mary %s\r\n" % self.arena.MARY)
            wait_until("all threads of auth wait", lambda: auth.num_threads() > _AUTH_THREADS)
        finally:
            self.arena.database.execute("ROLLBACK")
        for client in clients:
            assert client.line().startswith(b"a1 OK ")
            client.close()
        self.witness = Witness(self.arena)

    def logins(self, loops: int, pause_s: float, at_least: int = 0) -> Apart[list[load.Login]]:
        """Log in again and again over IMAP, in a process of its own."""
        return Apart(load.log_in_on_and_on, self.port, loops, pause_s, at_least)

    def sessions(self, count: int, beat_s: float) -> Apart[load.Held]:
        """Hold sessions, in a process of its own."""
        return Apart(load.hold_sessions, self.port, count, beat_s, 20000)

    def streams(self, count: int) -> Apart[list[load.Streamed]]:
        """Send much through a few sessions, in a process of its own."""
        return Apart(load.stream, self.port, count, 1, 30000)

    def wait_whole(self, protocol: str = "imap") -> None:
        """Wait until as many workers as configured are there."""
        wait_until("all workers are there", lambda: len(pids(self.arena, f"{protocol}-login")) >= WORKERS)

    def close_books(self) -> None:
        """Note how the processes look now, and fail when anything that was asked for was missed."""
        self.arena.check()
        self.witness.note(self.figures)
        self.figures.verify()


def now_s() -> float:
    """Monotonic seconds, the same in all processes."""
    return time.monotonic()
