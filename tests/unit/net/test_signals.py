"""Signals as events of the reactor, in a process of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from mailproxy.net.reactor import Reactor
from mailproxy.net.signals import Signals, block_all, unblock_all


def in_a_child(body: Callable[[], bool]) -> int:
    """Fork, since handlers and masks are the whole process's; returns 0 when `body` was true."""
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            status = 0 if body() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_storm_is_one_call() -> None:
    """F10: two hundred SIGHUP are handled once."""

    def body() -> bool:
        reactor = Reactor()
        calls: list[str] = []
        signals = Signals(
            reactor,
            {
                signal.SIGHUP: lambda: calls.append("hup"),
                signal.SIGUSR1: lambda: calls.append("usr1"),
            },
        )
        for _ in range(200):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGUSR1)
        reactor.run_once(1)
        reactor.run_once(0)
        signals.close()
        reactor.run_once(0)
        return calls == ["hup", "usr1"]

    assert in_a_child(body) == 0


def test_more_signals_than_the_pipe_holds() -> None:
    """F10: a hundred thousand signals between two batches neither block nor print."""

    def body() -> bool:
        reactor = Reactor()
        calls: list[int] = []
        signals = Signals(reactor, {signal.SIGUSR1: lambda: calls.append(1)})
        for _ in range(100_000):
            os.kill(os.getpid(), signal.SIGUSR1)
        while True:
            before = len(calls)
            reactor.run_once(0)
            if len(calls) == before:
                break
        signals.close()
        return 1 <= len(calls) <= 100_000 // 4096 + 1

    assert in_a_child(body) == 0


def test_blocked_signals_wait_for_the_handlers() -> None:
    """F09: a signal at birth finds the child's own handler."""

    def body() -> bool:
        block_all()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        reactor = Reactor()
        calls: list[str] = []
        Signals(
            reactor,
            {signal.SIGTERM: lambda: calls.append("term"), signal.SIGHUP: lambda: calls.append("hup")},
        )
        reactor.run_once(1)
        return sorted(calls) == ["hup", "term"]

    assert in_a_child(body) == 0


def test_without_handlers_a_signal_at_birth_ends_the_child() -> None:
    """F09."""

    def body() -> bool:
        block_all()
        os.kill(os.getpid(), signal.SIGTERM)
        unblock_all()
        return True

    assert in_a_child(body) == -signal.SIGTERM


def test_sigpipe_is_an_error_of_the_write() -> None:
    def body() -> bool:
        Signals(Reactor(), {})
        read_fd, write_fd = os.pipe()
        os.close(read_fd)
        try:
            os.write(write_fd, b"x")
        except BrokenPipeError:
            return True
        return False

    assert in_a_child(body) == 0
