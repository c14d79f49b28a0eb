"""Children of the master: born, heard and buried."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SocketType

import pytest

from mailproxy.base.level import Level
from mailproxy.config.settings import LogSettings
from mailproxy.ipc.status import Order, State, Status, parse_order, render_status
from mailproxy.net.reactor import Reactor
from mailproxy.process.child import ChildLog
from mailproxy.process.log_sink import LogSink
from mailproxy.process.spawner import _ASK_AGAIN_S, Body, Child, Spawner


class Family:
    """A spawner with its reactor and log, and what it reported."""

    def __init__(self, log: Path) -> None:
        self.reactor = Reactor()
        self.sink = LogSink()
        self.sink.open(LogSettings(str(log), "", "", "mail"))
        self.statuses: list[tuple[int, Status]] = []
        self.deaths: list[tuple[int, bool]] = []
        self._log = log
        self.spawner = Spawner(
            self.reactor,
            self.sink,
            lambda sender, status: self.statuses.append((sender.pid, status)),
            lambda dead, clean: self.deaths.append((dead.pid, clean)),
        )

    def spawn(self, body: Body, role: str = "imap-login") -> Child:
        return self.spawner.spawn(role, "login", self, [], body)

    def turn_until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end, self.lines()
            self.reactor.run_once(0.02)
            self.spawner.reap()  # what the master does on SIGCHLD

    def lines(self) -> list[str]:
        return [line.removeprefix("dovecot: ") for line in self._log.read_text().splitlines()]

    def close(self) -> None:
        for pid in list(self.spawner.children):
            os.kill(pid, signal.SIGKILL)
        self.turn_until(lambda: not self.spawner.children)
        for pipe in self.spawner._pipes.values():
            os.close(pipe.read_fd)
            os.close(pipe.write_fd)
        self.sink.close()
        self.reactor.close()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path / "log")
    yield family
    family.close()


def sleep(_channel: SocketType) -> None:
    time.sleep(60)


def test_a_child_that_reports_and_leaves(family: Family) -> None:
    def body(channel: SocketType) -> None:
        ChildLog().write(Level.INFO, "hello")
        channel.send(render_status(Status(State.FULL, 1, 2)))

    born = family.spawn(body)
    family.turn_until(lambda: family.deaths)
    assert family.deaths == [(born.pid, True)]
    assert family.statuses == [(born.pid, Status(State.FULL, 1, 2))]
    family.turn_until(lambda: family.lines() == ["Info: imap-login: hello"])


def test_orders_reach_the_child(family: Family) -> None:
    def body(channel: SocketType) -> None:
        ChildLog().write(Level.INFO, parse_order(channel.recv(64))[0].name)

    family.spawn(body).order(Order.RETIRE)
    family.turn_until(lambda: "Info: imap-login: RETIRE" in family.lines())


def test_orders_that_find_no_room_are_repeated(family: Family) -> None:
    """By the master itself, without haste, one of a kind; descriptors go along and are not kept."""

    def body(channel: SocketType) -> None:
        while True:
            packet, fds, _, _ = socket.recv_fds(channel, 64, 4)  # type: ignore[arg-type]
            order = parse_order(packet)[0]
            if order is not Order.PING:
                ChildLog().write(Level.INFO, f"{order.name} with {len(fds)}")

    born = family.spawn(body)
    held = len(os.listdir("/proc/self/fd"))
    os.kill(born.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, born.pid, os.WSTOPPED)
    while born.order(Order.PING):
        pass
    for _ in range(3):
        family.spawner.insist(born, Order.RETIRE)
        family.spawner.insist(born, Order.HAND_OVER, [0])
    assert len(os.listdir("/proc/self/fd")) == held + 1
    turns = 0
    end = time.monotonic() + 2 * _ASK_AGAIN_S
    while time.monotonic() < end:
        family.reactor.run_once(end - time.monotonic())
        turns += 1
    assert turns < 6
    assert set(born.unsaid) == {Order.RETIRE, Order.HAND_OVER}
    os.kill(born.pid, signal.SIGCONT)
    family.turn_until(lambda: family.lines()[-1:] == ["Info: imap-login: HAND_OVER with 1"])
    assert family.lines() == ["Info: imap-login: RETIRE with 0", "Info: imap-login: HAND_OVER with 1"]
    assert not born.unsaid
    assert len(os.listdir("/proc/self/fd")) == held


def test_what_could_not_be_said_to_the_dead_is_forgotten(family: Family) -> None:
    born = family.spawn(sleep)
    held = len(os.listdir("/proc/self/fd"))
    while born.order(Order.PING):
        pass
    family.spawner.insist(born, Order.HAND_OVER, [0])
    os.kill(born.pid, signal.SIGKILL)
    family.turn_until(lambda: family.deaths)
    assert len(os.listdir("/proc/self/fd")) == held - 1  # Its channel is closed as well.


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (89, " (Fatal failure: the reason was logged before)"),
        (80, " (Can't open log file)"),
        (81, " (Can't write to log file)"),
        (82, " (Internal logging error)"),
        (83, " (Out of memory)"),
        (84, " (exec() failed)"),
    ],
)
def test_what_is_said_of_an_exit_status(family: Family, status: int, reason: str) -> None:
    born = family.spawn(lambda _channel: sys.exit(status))
    family.turn_until(lambda: family.deaths)
    assert family.deaths == [(born.pid, False)]
    assert family.lines() == [f"Error: child {born.pid} (login) returned error {status}{reason}"]


def test_what_is_said_of_a_killed_child(family: Family) -> None:
    """F01."""
    born = family.spawn(sleep)
    os.kill(born.pid, signal.SIGKILL)
    family.turn_until(lambda: family.deaths)
    assert family.lines() == [
        f"Error: child {born.pid} (login) killed with signal 9 (SIGKILL: by hand, or memory ran out)"
    ]


def test_a_traceback_comes_before_the_word_of_the_death(family: Family) -> None:
    def body(_channel: SocketType) -> None:
        sys.stderr = os.fdopen(2, "w", 1)  # not the test's
        raise RuntimeError("broken on purpose")

    born = family.spawn(body)
    family.turn_until(lambda: family.deaths)
    lines = family.lines()
    assert lines[0] == "Error: imap-login: Traceback (most recent call last):"
    assert lines[-2:] == [
        "Error: imap-login: RuntimeError: broken on purpose",
        f"Error: child {born.pid} (login) returned error 70"
        " (Internal error: please report what was logged before)",
    ]


def test_many_deaths_at_once_are_all_noticed(family: Family) -> None:
    """F16: SIGCHLD is one, the dead are many."""
    born = [family.spawn(sleep) for _ in range(8)]
    for one in born:
        os.kill(one.pid, signal.SIGKILL)
    family.turn_until(lambda: len(family.deaths) == 8)
    assert sorted(pid for pid, _ in family.deaths) == sorted(one.pid for one in born)
    assert family.spawner.children == {}


@pytest.mark.parametrize("packet", [b"x", b"\xff" * 10, b"\x01" * 64])
def test_a_malformed_status_does_no_harm(family: Family, packet: bytes) -> None:
    """V14."""

    def body(channel: SocketType) -> None:
        channel.send(packet)

    born = family.spawn(body)
    family.turn_until(lambda: family.deaths)
    assert family.statuses == []
    assert f"Error: BUG: imap-login (pid {born.pid}): malformed status packet" in family.lines()


def test_a_child_holds_only_its_own(family: Family) -> None:
    """V05: standard descriptors and the channel; no sibling's end, no log file, no epoll of the parent."""
    family.spawn(sleep)

    def body(channel: SocketType) -> None:
        fds = [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
        ChildLog().write(Level.INFO, f"holds {len(fds)} {channel.fileno() in fds}")

    family.spawn(body, "auth")
    family.turn_until(lambda: any("auth: holds" in line for line in family.lines()))
    assert "Info: auth: holds 4 True" in family.lines()


def test_a_child_starts_with_signals_held_back(family: Family) -> None:
    """F09: none finds a handler of the parent."""

    def body(_channel: SocketType) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        blocked = signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        ChildLog().write(Level.INFO, f"held {blocked}")

    family.spawn(body)
    family.turn_until(lambda: "Info: imap-login: held True" in family.lines())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_flood_without_line_ends_is_cut(family: Family) -> None:
    """X10: the master's memory is bounded whatever a child writes."""

    def body(_channel: SocketType) -> None:
        os.set_blocking(2, True)
        os.write(2, b"x" * 300_000 + b"\nend\n")

    family.spawn(body)
    family.turn_until(lambda: any(line.endswith(": end") for line in family.lines()))
    assert all(len(line) < 1100 for line in family.lines())
    assert re.fullmatch("Error: imap-login: x+", family.lines()[0])


def test_a_fork_that_fails_leaves_nothing(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """F14."""
    family.spawn(lambda _channel: None)
    family.turn_until(lambda: family.deaths)
    before = len(os.listdir("/proc/self/fd"))

    def fail() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fail)
    with pytest.raises(BlockingIOError):
        family.spawn(sleep)
    assert len(os.listdir("/proc/self/fd")) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_child_that_never_stops_writing(family: Family) -> None:
    """X10: another one's death is told meanwhile, and the master goes on."""

    def flood(_channel: SocketType) -> None:
        os.set_blocking(2, True)
        os.dup2(2, 1)
        os.execvp("yes", ["yes"])

    flooding = family.spawn(flood)
    family.turn_until(lambda: family._log.stat().st_size)
    dying = family.spawn(lambda _channel: os._exit(3), "pop3-login")
    family.turn_until(lambda: dying.pid not in family.spawner.children)
    os.kill(flooding.pid, signal.SIGKILL)
    family.turn_until(lambda: not family.spawner.children)
