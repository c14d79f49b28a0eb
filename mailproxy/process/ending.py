"""How the service ends: listeners first, then children in the order in which they need each other."""

from __future__ import annotations

import contextlib
import os
import signal

from mailproxy.net.reactor import Reactor
from mailproxy.process.listeners import Listeners
from mailproxy.process.spawner import Spawner

# Children that were told to end and did not are killed after so long.
_STOP_S = 5.0


class Ending:
    """Begins with the first `begin`; the second one is immediate. Stops the reactor when it is complete."""

    def __init__(self, reactor: Reactor, spawner: Spawner, listeners: Listeners) -> None:
        self._reactor = reactor
        self._spawner = spawner
        self._listeners = listeners
        self.has_begun = False

    def begin(self, *, ends_relays: bool) -> None:
        """Close the listeners and end every child; relays live on unless `ends_relays`."""
        if self.has_begun:
            self._kill_all()
            return
        self.has_begun = True
        self._listeners.close()
        if ends_relays:
            self._reactor.call_later(_STOP_S, self._kill_all)
            self.go_on()
        else:
            # The end of our process is the word to them: they take no more and live to their relays' end.
            self._reactor.stop()

    def go_on(self) -> None:
        """Tell the workers to end, and auth when none of them needs it any more."""
        children = list(self._spawner.children.values())
        workers = [living for living in children if living.kind == "login"]
        for living in workers or children:
            if not living.was_told_to_end:
                living.was_told_to_end = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(living.pid, signal.SIGTERM)
        if not children:
            self._reactor.stop()

    def _kill_all(self) -> None:
        for living in list(self._spawner.children.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(living.pid, signal.SIGKILL)
        self._reactor.call_later(_STOP_S, self._reactor.stop)
