"""Signals as events of the reactor: a handler only leaves a byte in a pipe, the loop acts."""

from __future__ import annotations

import os
import signal
from _signal import getsignal, pthread_sigmask, set_wakeup_fd  # type: ignore[import-not-found]
from collections.abc import Callable, Mapping
from os import pipe2

from mailproxy.net.reactor import READ, Reactor

# The public functions turn each number into an enum member, which fails for the half of them that have no
# name: 0.2 ms of a fork, in parent and child together.
_ALL = tuple(int(number) for number in signal.valid_signals())
_SIGPIPE, _SIG_IGN = int(signal.SIGPIPE), int(signal.SIG_IGN)
_SIG_BLOCK, _SIG_SETMASK = int(signal.SIG_BLOCK), int(signal.SIG_SETMASK)
_PIPE_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC

Handlers = Mapping[signal.Signals, Callable[[], None]]


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: the interpreter has written the number to the wake-up descriptor by now."""


class Signals:
    """Calls one handler per signal and batch, so that a storm of one signal is one event.

    Owns its pipe. One per process, for the process's life. SIGPIPE is ignored. Where a process per connection
    is to have one, the master makes it, not `opened`, and the child opens it.
    """

    def __init__(self, reactor: Reactor, handlers: Handlers, *, opened: bool = True) -> None:
        self._reactor = reactor
        self._handlers: dict[int, Callable[[], None]] = {int(number): handlers[number] for number in handlers}
        if opened:
            self.open()

    def open(self) -> None:
        """Take signals from now on."""
        self._read_fd, self._write_fd = pipe2(_PIPE_FLAGS)
        set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        # A child has its master's handlers, and finds out for a tenth of what setting them again costs.
        if getsignal(_SIGPIPE) != _SIG_IGN:
            signal.signal(_SIGPIPE, _SIG_IGN)
        for number in self._handlers:
            if getsignal(number) is not _noted:
                signal.signal(number, _noted)
        self._reactor.add(self._read_fd, READ, self._on_signals)
        pthread_sigmask(_SIG_SETMASK, ())

    def _on_signals(self, _events: int) -> None:
        for number in dict.fromkeys(os.read(self._read_fd, 4096)):
            handler = self._handlers.get(number)
            if handler is not None:
                handler()

    def close(self) -> None:
        """Let go of the pipe, which the reactor no longer watches afterwards."""
        signal.set_wakeup_fd(-1)
        self._reactor.remove(self._read_fd)
        os.close(self._read_fd)
        os.close(self._write_fd)


def block_all() -> None:
    """Hold every signal back until a `Signals` is made: around a fork none may find a parent's handler."""
    pthread_sigmask(_SIG_BLOCK, _ALL)


def unblock_all() -> None:
    """Let signals in again."""
    pthread_sigmask(_SIG_SETMASK, ())
