"""How the service ends: listeners first, then children in the order in which they need each other."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from enum import IntEnum

from mailproxy.ipc.status import Order
from mailproxy.net.reactor import Reactor
from mailproxy.process.listeners import Listeners
from mailproxy.process.spawner import Spawner

# Children that were told to end and did not are killed after so long.
_STOP_S = 5.0
# The same, when somebody has asked twice.
_HURRY_S = 1.0


class _Stage(IntEnum):
    SERVING = 0
    WAITING = 1
    """For relays, until they end by themselves."""
    ENDING = 2
    KILLING = 3


class Ending:
    """Begins with the first `begin` or `hand_over`; asking again is immediate.

    Stops the reactor when no child is left and `is_alone`, which tells of others to wait for, says so.
    """

    def __init__(
        self, reactor: Reactor, spawner: Spawner, listeners: Listeners, is_alone: Callable[[], bool]
    ) -> None:
        self._reactor = reactor
        self._spawner = spawner
        self._listeners = listeners
        self._is_alone = is_alone
        self._stage = _Stage.SERVING

    @property
    def has_begun(self) -> bool:
        """Whether nobody new is served."""
        return self._stage is not _Stage.SERVING

    def begin(self, *, ends_relays: bool, grace_s: float = 0.0) -> None:
        """Close the listeners and end every child; without `ends_relays`, relays live on for `grace_s`.

        A grace of 0 has no limit.
        """
        if self._stage is _Stage.SERVING:
            self._listeners.close()
            if ends_relays:
                self._end_all(_STOP_S)
            else:
                self._order({"auth": Order.RETIRE, "login": Order.LEAVE})
                self._wait(grace_s)
        elif self._stage is _Stage.WAITING:
            self._end_all(_HURRY_S)
        else:
            self._kill_all()

    def hand_over(self, outlets: Mapping[str, int], grace_s: float) -> None:
        """Close the listeners; children go when they have passed on what they have, relays by `outlets`.

        These are descriptors by protocol, which stay the caller's. Who stays has `grace_s`, as in `begin`.
        """
        self._listeners.close()
        for living in list(self._spawner.children.values()):
            outlet = outlets.get(living.role.removesuffix("-login"))
            if outlet is None:
                self._spawner.insist(living, Order.RETIRE)
            else:
                self._spawner.insist(living, Order.HAND_OVER, [outlet])
        self._wait(grace_s)

    def _order(self, orders: Mapping[str, Order]) -> None:
        for living in list(self._spawner.children.values()):
            self._spawner.insist(living, orders[living.kind])

    def _wait(self, grace_s: float) -> None:
        self._stage = _Stage.WAITING
        if grace_s:
            self._reactor.call_later(grace_s, self._on_time)
        self.go_on()

    def _on_time(self) -> None:
        if self._stage is _Stage.WAITING:
            self._end_all(_STOP_S)

    def _end_all(self, limit_s: float) -> None:
        self._stage = _Stage.ENDING
        self._reactor.call_later(limit_s, self._kill_all)
        self.go_on()

    def go_on(self) -> None:
        """Tell the workers to end, and auth when none of them needs it any more."""
        children = list(self._spawner.children.values())
        workers = [living for living in children if living.kind == "login"]
        if self._stage is not _Stage.WAITING:
            for living in workers or children:
                if not living.was_told_to_end:
                    living.was_told_to_end = True
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(living.pid, signal.SIGTERM)
        if not children and self._is_alone():
            self._reactor.stop()

    def _kill_all(self) -> None:
        self._stage = _Stage.KILLING
        for living in list(self._spawner.children.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(living.pid, signal.SIGKILL)
        self._reactor.call_later(_STOP_S, self._reactor.stop)
