"""Children that hang are found and killed; whoever misses them forks others.

Asked are those whose loop matters to more than one client: auth, and workers that accept, carry logins or
several sessions. A process with a single session sleeps on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from mailproxy.base.level import Level
from mailproxy.ipc.status import Order, State
from mailproxy.net.reactor import Reactor
from mailproxy.process.spawner import Child, Spawner
from mailproxy.supervise.heartbeat import Heartbeat

_BEAT_S = 8.0
_LIMIT_S = 15.0
# Auth reads files and loads libraries before its loop turns.
_AUTH_START_S = 30.0
# What SIGABRT is given to write down where the process hangs; a stopped one cannot.
_ABORT_S = 1.0


class Pulse:
    """Beats from `start` to `end`."""

    def __init__(self, reactor: Reactor, spawner: Spawner, log: Callable[[Level, str], None]) -> None:
        self._reactor = reactor
        self._spawner = spawner
        self._log = log
        self._heartbeat = Heartbeat(_BEAT_S, _LIMIT_S)
        self._is_over = False

    def start(self) -> None:
        """Begin."""
        self._reactor.call_later(_BEAT_S, self._beat)

    def end(self) -> None:
        """Judge nobody any more."""
        self._is_over = True

    def _beat(self) -> None:
        if self._is_over:
            return
        self._reactor.call_later(_BEAT_S, self._beat)
        now_s = self._reactor.now
        children = self._spawner.children
        asked = {child.pid: child.heard_at_s for child in children.values() if _matters(child)}
        to_ask, hung = self._heartbeat.beat(now_s, asked)
        for pid in to_ask:
            children[pid].order(Order.PING)
        for pid in hung:
            self._kill(children[pid], f"has not answered for {_LIMIT_S:.0f} s")
        for child in list(children.values()):
            if child.kind == "auth" and not child.is_ready and now_s - child.born_at_s >= _AUTH_START_S:
                self._kill(child, f"did not become ready within {_AUTH_START_S:.0f} s")

    def _kill(self, child: Child, why: str) -> None:
        self._log(Level.ERROR, f"child {child.pid} ({child.role}) {why}, killing it")
        _signal(child, signal.SIGABRT)

        def finish() -> None:
            # By then its number may be another's.
            if self._spawner.children.get(child.pid) is child:
                _signal(child, signal.SIGKILL)

        self._reactor.call_later(_ABORT_S, finish)


def _matters(child: Child) -> bool:
    if child.kind == "auth":
        return child.is_ready
    return child.status.state is not State.FULL or child.status.relays > 1


def _signal(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, number)
