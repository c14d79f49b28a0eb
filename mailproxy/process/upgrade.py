"""A new version of the program takes this one's place, without a session or a connect lost.

It is a transaction. The new master is started and is offered the listeners and the lock; only when its
workers serve does this one let go. Until then, nothing here has changed. Afterwards this one looks after the
sessions that cannot be handed over, and ends with the last of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from mailproxy.base.level import Level
from mailproxy.net.fd_passing import close_all
from mailproxy.net.reactor import Reactor
from mailproxy.process.ending import Ending
from mailproxy.process.listeners import Listeners
from mailproxy.process.succession import OnDone, Succession
from mailproxy.process.successor import OnWord, Successor

_AGAIN_S = 0.1
_INIT_PID = 1


def why_impossible(pid: int) -> str:
    """Say why a master with this number cannot be replaced by another process; empty if it can."""
    if pid == _INIT_PID:
        return (
            "process 1 of a container can't be replaced, since the container ends with it;"
            " start a new container instead"
        )
    return ""


class Upgrade:
    """The one of this master. `on_retired` is called when a new one has its place, before children leave, and
    `on_failed` when a new one has gone without having it.

    `on_word` is told what the new master says later.
    """

    def __init__(
        self,
        reactor: Reactor,
        log: Callable[[Level, str], None],
        listeners: Listeners,
        succession: Succession,
        ending: Ending,
        on_retired: Callable[[int], None],
        on_failed: Callable[[], None],
        on_word: OnWord,
    ) -> None:
        self._reactor = reactor
        self._log = log
        self._listeners = listeners
        self._succession = succession
        self._ending = ending
        self._on_retired = on_retired
        self._on_failed = on_failed
        self._on_word = on_word
        self._successor: Successor | None = None
        self._is_over = False

    def begin(self, lock_fd: int, on_done: OnDone) -> None:
        """Begin to be replaced; `on_done` is told the problems, none when the new master has our place.

        The pid file's `lock_fd` stays the caller's.
        """
        problem = why_impossible(os.getpid())
        if problem:
            self._log(Level.ERROR, f"Upgrade refused: {problem}")
            on_done([problem])
            return
        current = self._succession.current
        if self._successor is not None or self._is_over:
            on_done(["mailproxy is about to end, or to be replaced"])
            return
        if current is None or self._succession.is_pending:
            self._reactor.call_later(_AGAIN_S, lambda: self.begin(lock_fd, on_done))
            return

        def on_ready(outlets: dict[str, int], auth_paths: list[str]) -> None:
            self._retire(outlets, auth_paths)
            on_done([])

        def on_failed(problems: list[str]) -> None:
            self._stay(problems)
            on_done(problems)

        self._succession.hold()
        self._successor = Successor(self._reactor, self._log, on_ready, on_failed, self._on_word)
        sockets = current.auth_sockets
        listeners = [listener.fileno() for listener in self._listeners.by_address.values()]
        try:
            sockets.keep()
            base_dir = self._succession.settings.base_dir
            self._successor.begin(base_dir, sockets.paths, lock_fd, listeners)
        except OSError as error:
            on_failed([f"Can't start a new master: {error.strerror}"])

    def _stay(self, problems: list[str]) -> None:
        self._successor = None
        for problem in problems:
            self._log(Level.ERROR, f"Upgrade failed: {problem}")
        self._log(Level.WARNING, "Upgrade failed, keeping the running version")
        self._restore()
        self._succession.release()

    def _restore(self) -> None:
        self._on_failed()
        current = self._succession.current
        if current is not None:
            try:
                current.auth_sockets.restore()
            except OSError as error:
                self._log(Level.ERROR, f"Can't take {error.filename} back: {error.strerror}")

    def _retire(self, outlets: dict[str, int], auth_paths: list[str]) -> None:
        successor, current = self._successor, self._succession.current
        if successor is None or current is None:
            return
        self._is_over = True
        self._log(Level.WARNING, f"Upgrade: PID {successor.pid} has taken over")
        self._succession.end()
        current.auth_sockets.forget_kept()
        self._succession.remove_files(but=auth_paths)
        self._on_retired(successor.pid)
        successor.leave()
        self._ending.hand_over(outlets, self._succession.settings.shutdown_grace_s)
        close_all(list(outlets.values()))

    def cancel(self) -> None:
        """Begin no more, and have a new master that is not ready yet end again."""
        if not self._is_over and self._successor is not None:
            self._successor.cancel()
            self._restore()
        self._is_over = True
