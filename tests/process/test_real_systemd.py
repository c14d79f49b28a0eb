"""mailproxy as a service of a real systemd, installed as README.md says, with the units as they are."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.machine import Machine, NotPossible, why_impossible
from tests.harness.proxy import CHECKOUT, HOST
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import ScriptedBackend, imap_echo
from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.process.look import echoes

IMAP_PORT = 143
PORTS = {IMAP_PORT: b"*", 110: b"+OK"}
WORD = "Guest-Secret-33"
CONFIGURATION = """\
log_path = /var/log/mailproxy.log
protocols = imap pop3
ssl_disable = yes
login_processes_count = 2
{mode}
protocol imap {{
  imap_capability = IMAP4rev1
}}
auth default {{
  mechanisms = plain
  user = nobody
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb passwd-file {{
    args = /etc/mailproxy/users
  }}
}}
"""
ROLES = ["auth(default)", *["imap-login"] * 2, "master", *["pop3-login"] * 2]
# Only how soon and how often, not what.
DROP_IN = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec=1\nRestartSec=50ms\n"


class Service:
    """The unit in the machine; guest has a backend there that echoes."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.etc = machine.root / "etc/mailproxy"
        self.units = machine.root / "etc/systemd/system"
        self.log = machine.root / "var/log/mailproxy.log"
        self._offset = self.log.stat().st_size if self.log.exists() else 0

    def configure(self, mode: str) -> None:
        """Write the configuration."""
        (self.etc / "dovecot.conf").write_text(CONFIGURATION.format(mode=mode))

    def systemctl(self, verb: str, *words: str, status: int = 0) -> str:
        """Give an order about the unit."""
        return self.machine.run("systemctl", verb, *words, "mailproxy.service", status=status)

    def show(self, *names: str) -> list[str]:
        return self.machine.properties("mailproxy.service", *names)

    def main_pid(self) -> int:
        """Return what systemd thinks is the master, by the number that it has outside."""
        (inner,) = self.show("MainPID")
        return next(pid for pid in self.pids() if f"NSpid:\t{pid}\t{inner}\n" in about(pid, "status"))

    def status(self) -> str:
        """Return the status line, once the master has asked its workers."""
        self.machine.run("mailproxyctl", "status")
        return self.show("StatusText")[0]

    def pids(self) -> set[int]:
        """Return all that lives of the unit."""
        return {process.pid for process in self.machine.processes("mailproxy.service")}

    def pid_file(self) -> list[str]:
        return (self.machine.root / "run/mailproxy/master.pid").read_text().split()

    def roles(self) -> list[str]:
        """Return what the processes are, in order."""
        return sorted(
            process.cmdline()[0].removeprefix("mailproxy: ")
            for process in self.machine.processes("mailproxy.service")
        )

    def logged(self) -> str:
        """Return what was logged in this test."""
        with self.log.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode()

    def connect(self, port: int = IMAP_PORT) -> RawClient:
        """Connect and take the greeting."""
        with self.machine.network():
            return RawClient(port)

    def guest(self) -> RawClient:
        """Log in."""
        client = self.connect()
        reply = client.ask(f"a1 LOGIN guest {WORD}\r\n".encode())
        assert reply.startswith(b"a1 OK "), reply
        return client

    def close(self) -> None:
        """Stop it: nothing of it is left, and its log is clean."""
        self.systemctl("stop", "mailproxy.socket")
        assert self.show("ActiveState", "Result", "NFileDescriptorStore") == ["inactive", "success", "0"]
        wait_until("nobody is left", lambda: not self.pids() and not self.machine.zombies())
        assert not (self.machine.root / "run/mailproxy").exists()
        for port in PORTS:
            with pytest.raises(ConnectionRefusedError):
                self.connect(port)
        said = self.logged() + self.machine.run("journalctl", "--no-pager", "--unit=mailproxy")
        for bad in ("Traceback", "BUG:", "Panic:", WORD):
            assert bad not in said, said[-5000:]


def about(pid: int, file: str) -> str:
    """Return what /proc tells of a process, nothing when it has gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{file}").read_text()
    return ""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    if reason := why_impossible():
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        try:
            machine = stack.enter_context(Machine())
        except NotPossible as error:
            pytest.skip(f"no machine can be built here: {error}")
        with machine.network():
            imap = stack.enter_context(ScriptedBackend(imap_echo))
        users = machine.root / "etc/mailproxy/users"
        users.write_text(f"guest:{{PLAIN}}{WORD}::::::proxy host={HOST} port={imap.port}\n")
        users.chmod(0o640)
        shutil.chown(users, group="nogroup")
        units = machine.root / "etc/systemd/system"
        for unit in ("mailproxy.service", "mailproxy.socket"):
            (units / unit).write_text((CHECKOUT / "etc/systemd" / unit).read_text())
        (units / "mailproxy.service.d").mkdir()
        (units / "mailproxy.service.d/sooner.conf").write_text(DROP_IN)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "mailproxy")
        yield machine
        imap.check()


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """Started with workers that share, as far as the test says nothing else."""
    service = Service(machine)
    service.configure(MODES["shared"])
    service.systemctl("start")
    yield service
    service.close()


@contextlib.contextmanager
def connecting(service: Service) -> Iterator[list[bytes]]:
    """Meanwhile connect again and again; every connect has to succeed and to be greeted."""
    greetings: list[bytes] = []
    is_over = threading.Event()

    def knock() -> None:
        with service.machine.network():
            while not is_over.is_set():
                try:
                    with RawClient(IMAP_PORT) as client:
                        greetings.append(client.greeting)
                except OSError as error:
                    greetings.append(repr(error).encode())

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield greetings
    finally:
        is_over.set()
        thread.join(30)
        assert not thread.is_alive()


def check_greetings(greetings: list[bytes]) -> None:
    refused = [greeting for greeting in greetings if not greeting.startswith(b"* OK")]
    assert not refused, f"{len(refused)} of {len(greetings)}: {set(refused)}"


def test_the_life_of_a_service(service: Service) -> None:
    """F13, F20: active means that it serves, the status tells sessions, a stop leaves nothing (see close)."""
    for port in PORTS:
        with service.connect(port) as client:
            assert client.greeting.split()[0] == PORTS[port]
    assert service.show("ActiveState", "SubState", "NRestarts") == ["active", "running", "0"]
    with service.guest() as session:
        wait_until("the status tells", lambda: service.status().startswith("1 session, "))
        assert "1 session, " in service.systemctl("status", "--no-pager")
        assert echoes(session)
    assert service.pid_file() == service.show("MainPID")
    assert service.roles() == ROLES


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "killed"])
def test_a_master_is_replaced(service: Service, number: signal.Signals) -> None:
    """F05, F21: the watchdog kills one that hangs; then another serves, with its own children only."""
    old = service.pids()
    os.kill(service.main_pid(), number)
    wait_until("it was replaced", lambda: service.show("NRestarts", "ActiveState") == ["1", "active"])
    with service.guest() as session:
        assert echoes(session)
    wait_until("the old ones are gone", lambda: not old & service.pids() and not service.machine.zombies())
    assert service.roles() == ROLES


def test_reload(service: Service) -> None:
    """F11, F12: a session is kept; a wrong configuration changes nothing, and systemd says so."""
    session, main, before = service.guest(), service.main_pid(), service.pids()
    service.systemctl("reload")
    assert echoes(session)
    wait_until("all but one are new", lambda: len(before & service.pids()) == 2)
    service.configure("no_such_setting = 1")
    serving = service.pids()
    assert "Job for mailproxy.service failed" in service.systemctl("reload", status=1)
    assert "no_such_setting" in service.logged()
    assert service.show("ActiveState", "NRestarts") == ["active", "0"]
    assert (service.pids(), service.main_pid()) == (serving, main)
    with service.guest() as later:
        assert echoes(later)
    assert echoes(session)
    session.close()


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_restart_and_upgrade(service: Service, mode: str) -> None:
    """F12: no session is lost, no connect refused, no process left; systemd knows the new master."""
    service.configure(mode)
    service.systemctl("reload")
    sessions = [service.guest() for _ in range(5)]
    with connecting(service) as greetings:
        for order in ("restart", "upgrade", "restart", "upgrade"):
            old, restarts = service.pids(), service.show("NRestarts")
            if order == "restart":
                service.systemctl("restart")
            else:
                service.machine.run("mailproxyctl", "upgrade")
            assert all(echoes(session) for session in sessions)
            wait_until("nobody is left of before", lambda old=old: not old & service.pids())  # type: ignore[misc]
            assert service.show("ActiveState", "SubState", "NRestarts") == ["active", "running", *restarts]
            assert service.pid_file() == service.show("MainPID")
            wait_until("the store is empty", lambda: service.show("NFileDescriptorStore") == ["0"])
            assert service.machine.run("mailproxyctl", "who").count("guest") == 5
    check_greetings(greetings)
    for session in sessions:
        session.close()


def test_a_wrong_configuration_at_start(service: Service) -> None:
    """F02: it is not started again and again."""
    service.systemctl("stop")
    service.configure("no_such_setting = 1")
    service.systemctl("start", status=1)
    assert service.show("Result", "ExecMainStatus", "NRestarts") == ["exit-code", "89", "0"]
    assert "no_such_setting" in service.machine.run("journalctl", "--no-pager", "--unit=mailproxy")
    service.systemctl("reset-failed")


def test_ports_that_systemd_opens(service: Service) -> None:
    """F20: the first connect starts it; they are open while it restarts, and closed with the socket unit."""
    service.systemctl("stop")
    service.machine.run("systemctl", "start", "mailproxy.socket")
    assert service.show("ActiveState") == ["inactive"]
    session = service.guest()
    assert service.show("ActiveState") == ["active"]
    with connecting(service) as greetings:
        service.systemctl("restart")
        service.machine.run("mailproxyctl", "upgrade")
    check_greetings(greetings)
    assert echoes(session)
    session.close()
    assert "which no listen names" not in service.logged()


def test_its_log_in_the_journal(service: Service) -> None:
    """Without `log_path`; where it cannot see the devices of the machine, there is a way to syslog."""
    service.systemctl("stop")
    configuration = service.etc / "dovecot.conf"
    configuration.write_text(configuration.read_text().replace("log_path", "#log_path"))
    service.systemctl("start")
    service.guest().close()
    said = "imap-login: proxy(guest): started proxying to"
    wait_until("it is told", lambda: said in service.machine.run("journalctl", "--unit=mailproxy"))


def test_what_it_may_do(service: Service) -> None:
    """V02, V03: no new privileges, nothing to write but its folders, no home, no device."""
    for pid in service.pids():
        assert "NoNewPrivs:\t1\n" in about(pid, "status")
    seen = Path(f"/proc/{service.main_pid()}/root")
    for place in ("etc", "etc/mailproxy", "opt/mailproxy", "usr/local/sbin", "sys/fs/cgroup"):
        with pytest.raises(OSError, match="Read-only file system"):
            (seen / place / "new").touch()
    assert not list((seen / "home").iterdir())
    assert not (seen / "dev/tty").exists() or not list((seen / "dev").glob("tty[0-9]*"))
    assert not list((seen / "tmp").iterdir())
    said = service.machine.run("systemd-analyze", "security", "--no-pager", "mailproxy.service")
    score = re.search(r"exposure level for mailproxy.service: ([\d.]+)", said)
    assert score is not None, said
    print(said)
    assert float(score[1]) < 4
