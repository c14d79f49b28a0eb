"""mailproxy as a program under test: started as a user starts it, and watched from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import psutil

from mailproxy.config.build import CAPABILITY
from tests.harness.folder import open_folder
from tests.harness.ports import free_port
from tests.harness.wait import wait_until

CHECKOUT = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
START_S = 40.0
STOP_S = 20.0
_TITLE = "mailproxy: "

_HEAD = """\
base_dir = {base_dir}
log_path = {log}
protocols = imap pop3
ssl_disable = yes
protocol imap {{
  listen = {host}:{imap_port}
{imap_more}}}
protocol pop3 {{
  listen = {host}:{pop3_port}
{pop3_more}}}
"""


class Proxy:
    """One installation of mailproxy in a folder of its own, with free ports.

    `secrets` must never be seen in its log. `close` stops it and proves that nothing is wrong
    with the log and that no process is left.
    """

    open_ones: list[Proxy] = []
    """Every proxy that is not closed yet; the tests' conftest looks after them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = set(secrets)
        self._close = contextlib.ExitStack()
        self.folder = self._close.enter_context(open_folder("proxy"))
        self.configuration = self.folder / "dovecot.conf"
        self.sql = self.folder / "dovecot-sql.conf"
        self.log = self.folder / "log"
        self.base_dir = self.folder / "base"
        self.imap_port = free_port()
        self.pop3_port = free_port()
        self.probes = False
        """Whether backends are asked for their capabilities; scripts would count that as a login."""
        self.pid = 0
        self.program = ["-m", "mailproxy.cli"]
        """What Python runs; a test may put another in its place that changes a constant first."""
        self._process: subprocess.Popen[bytes] | None = None
        self._earlier: list[subprocess.Popen[bytes]] = []
        self._master: psutil.Process | None = None
        """A master that has taken the place of the one that we have started."""
        self._sessions: list[int] = []
        Proxy.open_ones.append(self)

    def write(self, rest: str, sql: str = "") -> None:
        """Write the configuration: our paths and addresses, then `rest`, which may override them."""
        head = _HEAD.format(
            base_dir=self.base_dir,
            log=self.log,
            host=HOST,
            imap_port=self.imap_port,
            pop3_port=self.pop3_port,
            imap_more="" if self.probes else f"  imap_capability = {CAPABILITY['imap']}\n",
            pop3_more="" if self.probes else f"  pop3_capability = {CAPABILITY['pop3']}\n",
        )
        self.configuration.write_text(head + rest)
        if sql:
            self.sql.write_text(sql)
            self.sql.chmod(0o600)

    def start(self, wait: bool = True) -> None:
        """Start the master in the foreground; with `wait`, until both protocols greet.

        One of before may still be looking after its last sessions.
        """
        self._earlier += [self._process] if self._process is not None else []
        # The number of a session that has ended may be a stranger's by now.
        living = {_session(process) for process in self.every_process()}
        self._sessions = [session for session in self._sessions if session in living]
        output = (self.folder / "output").open("ab")
        with output:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM"),  # it dies with the tests in any case
                    *(sys.executable, *self.program, "-F", "-c", str(self.configuration)),
                ],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._sessions.append(self.pid)
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until a worker of each protocol greets."""
        wait_until("mailproxy greets on both ports", self._greets, START_S)

    def replace_master(self, wait: bool = True) -> int:
        """Have a new master take over, and wait until it has; returns the pid of the old one."""
        old = self.pid
        os.kill(old, signal.SIGUSR2)
        if wait:
            self.follow()
        return old

    def follow(self) -> None:
        """Wait until another master has taken over, and go on with that one."""
        pid_file, old = self.base_dir / "master.pid", self.pid
        read = wait_until("a new master has taken over", lambda: _other_pid(pid_file, old), START_S)
        self._master = psutil.Process(read)
        self.pid = read

    def stop(self, number: signal.Signals = signal.SIGTERM, *, to_all: bool = False) -> int:
        """End the master by a signal and return its exit status; its children may outlive it a little.

        With `to_all` its children get the signal too, as service managers do it.
        """
        assert self._process is not None
        if self._master is not None:
            return self._stop_later_master(number)
        if self._process.poll() is None:
            (os.killpg if to_all else os.kill)(self._process.pid, number)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the master did not end within {STOP_S:g} s of {number.name}") from None

    def _stop_later_master(self, number: signal.Signals) -> int:
        """End a master that is not our child; its status is known to nobody, so 0 stands for its end."""
        assert self._master is not None
        if _is_running(self._master):
            self._master.send_signal(number)
        master, self._master = self._master, None
        wait_until(f"the master ends by {number.name}", lambda: not _is_running(master), STOP_S)
        return 0

    def sighup(self) -> None:
        """Have the master read its configuration again."""
        os.kill(self.pid, signal.SIGHUP)

    def kill(self, role: str) -> int:
        """Kill one process of that role without warning; returns its pid."""
        victim = self.children(role)[0]
        victim.kill()
        wait_until(f"{role} {victim.pid} is gone", lambda: not _is_running(victim))
        return victim.pid

    def processes(self) -> list[psutil.Process]:
        """Return everything alive that this proxy ever started, orphans too."""
        return [process for process in self.every_process() if _is_running(process)]

    def every_process(self) -> list[psutil.Process]:
        """Return everything that this proxy ever started, zombies too."""
        return [process for process in psutil.process_iter() if _session(process) in self._sessions]

    def zombies(self) -> list[psutil.Process]:
        """Return those that have ended without a living parent of ours taking note."""
        every = self.every_process()
        ours, found = {process.pid for process in every}, []
        for process in every:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_ZOMBIE and process.ppid() in ours:
                    found.append(process)
        return found

    def children(self, role: str) -> list[psutil.Process]:
        """Return the living processes whose title names `role` (`imap-login`, `pop3-login`, `auth`)."""
        return [p for p in self.processes() if p.pid != self.pid and _role(p).split("(")[0] == role]

    def log_text(self) -> str:
        """Return the whole log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_contains(self, text: str) -> bool:
        """Tell whether `text` was logged."""
        return text in self.log_text()

    def wait_log(self, text: str, times: int = 1, timeout_s: float = 30.0) -> None:
        """Wait until `text` was logged that many times."""
        wait_until(f"the log says {text!r}", lambda: self.log_text().count(text) >= times, timeout_s)

    def tail(self) -> str:
        """Return the end of what it printed and logged, for a failure report."""
        printed = self.folder / "output"
        said = printed.read_text(errors="replace")[-3000:] if printed.exists() else ""
        return f"--- printed\n{said}\n--- logged\n{self.log_text()[-6000:]}"

    def check_log(self) -> None:
        """Assert that nothing broke inside and that no secret was written down."""
        printed = self.folder / "output"
        said = self.log_text() + (printed.read_text(errors="replace") if printed.exists() else "")
        for bad in ("Traceback", "BUG:", "Panic:", *self.secrets):
            assert bad not in said, f"{bad!r} in the log of mailproxy"

    def close(self) -> None:
        """Stop, check the log and the absence of processes, remove the files."""
        Proxy.open_ones.remove(self)
        with self._close:
            try:
                if self._process is not None:
                    wait_until("every child that has ended is buried", lambda: not self.zombies(), STOP_S)
                    self.stop()
                    wait_until(
                        f"no process is left\n{self.processes()}", lambda: not self.processes(), STOP_S
                    )
                self.check_log()
            except AssertionError as error:
                raise AssertionError(f"{error}\n{self.tail()}") from None
            finally:
                for process in self.processes():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                for started in (*self._earlier, *([self._process] if self._process else [])):
                    started.wait(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _greets(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"mailproxy ended with status {self._process.returncode}\n{self.tail()}")
        return greeting(self.imap_port).startswith(b"* OK") and greeting(self.pop3_port).startswith(b"+OK")


def greeting(port: int, timeout_s: float = 2.0) -> bytes:
    """Return the first bytes that the proxy sends on `port`, nothing when it does not."""
    deadline = time.monotonic() + timeout_s
    try:
        with socket.create_connection((HOST, port), timeout_s) as client:
            client.settimeout(max(0.1, deadline - time.monotonic()))
            return client.recv(500)
    except OSError:
        return b""


def _other_pid(pid_file: Path, old: int) -> int:
    try:
        found = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return 0 if found == old else found


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return -1


def _role(process: psutil.Process) -> str:
    """Return the word behind `mailproxy: ` in the title."""
    try:
        title = " ".join(process.cmdline())
    except psutil.Error:
        return ""
    return title.removeprefix(_TITLE).split()[0] if title.startswith(_TITLE) else ""
