"""Signals as events of the reactor: a handler only leaves a byte in a pipe, the loop acts."""

from __future__ import annotations

import os
import signal
from _signal import getsignal, pthread_sigmask  # type: ignore[import-not-found]
from collections.abc import Callable, Mapping

from mailproxy.net.reactor import READ, Reactor

# The public functions turn each number into an enum member, which fails for the half of them that have no
# name: 0.2 ms of a fork, in parent and child together.
_ALL = tuple(int(number) for number in signal.valid_signals())

Handlers = Mapping[signal.Signals, Callable[[], None]]


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: the interpreter has written the number to the wake-up descriptor by now."""


class Signals:
    """Calls one handler per signal and batch, so that a storm of one signal is one event.

    Owns its pipe. One per process, for the process's life. SIGPIPE is ignored.
    """

    def __init__(self, reactor: Reactor, handlers: Handlers) -> None:
        self._reactor = reactor
        self._handlers = dict(handlers)
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        _set(signal.SIGPIPE, signal.SIG_IGN)
        for number in self._handlers:
            _set(number, _noted)
        reactor.add(self._read_fd, READ, self._on_signals)
        unblock_all()

    def _on_signals(self, _events: int) -> None:
        for number in dict.fromkeys(os.read(self._read_fd, 4096)):
            handler = self._handlers.get(signal.Signals(number))
            if handler is not None:
                handler()

    def close(self) -> None:
        """Let go of the pipe, which the reactor no longer watches afterwards."""
        signal.set_wakeup_fd(-1)
        self._reactor.remove(self._read_fd)
        os.close(self._read_fd)
        os.close(self._write_fd)


def _set(number: int, handler: Callable[[int, object], None] | signal.Handlers) -> None:
    # A child has its master's handlers, and finds out for a tenth of what setting them again costs.
    if getsignal(number) != handler:
        signal.signal(number, handler)


def block_all() -> None:
    """Hold every signal back until a `Signals` is made: around a fork none may find a parent's handler."""
    pthread_sigmask(int(signal.SIG_BLOCK), _ALL)


def unblock_all() -> None:
    """Let signals in again."""
    pthread_sigmask(int(signal.SIG_SETMASK), ())
