"""The auth processes of one generation: as many a section as it asks for, each forked again when it dies."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import SocketType

from mailproxy.base.level import Level
from mailproxy.config.settings import AuthSettings, Settings
from mailproxy.net.reactor import Reactor
from mailproxy.process import child, syscall_filter
from mailproxy.process.auth_sockets import AuthSockets
from mailproxy.process.question import Question
from mailproxy.process.spawner import Child, Spawner
from mailproxy.process.title import set_title

_RESTART_MIN_S = 0.1
_RESTART_MAX_S = 60.0
# A process that dies within this time after it was ready is not forked again at once: it may do so for ever.
_YOUNG_S = 1.0
# Threads and their stacks need address space that they never touch.
_SIZE_FLOOR_MIB = 2048


@dataclass(slots=True)
class _Place:
    """What one process is there for; outlives it."""

    section: AuthSettings
    role: str
    listeners: list[socket.socket]
    was_ready: bool = False
    restart_s: float = _RESTART_MIN_S


class AuthProcesses:
    """Keeps them alive from `start` until `is_retired`. The sockets belong to the generation, their `owner`.

    `on_all_ready` is called once, when every process has said that it is ready; `on_failed` when one died
    before it was ever ready. The death of one leaves the others alone.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Reactor,
        spawner: Spawner,
        log: Callable[[Level, str], None],
        sockets: AuthSockets,
        questions: Callable[[], Mapping[str, Question]],
        owner: object,
        on_all_ready: Callable[[], None],
        on_failed: Callable[[], None],
    ) -> None:
        self._base_dir = settings.base_dir
        self._reactor = reactor
        self._spawner = spawner
        self._log = log
        self._questions = questions
        self._owner = owner
        self._on_all_ready = on_all_ready
        self._on_failed = on_failed
        self._places = {
            f"auth({name})": _Place(section, f"auth({name})", sockets.by_process[name])
            for section in settings.auths
            for name in section.process_names
        }
        self._awaited = len(self._places)
        self.is_retired = False

    def start(self) -> None:
        """Fork them all."""
        for place in self._places.values():
            self._spawn(place)

    def _spawn(self, place: _Place) -> None:
        if self.is_retired:
            return

        def body(channel: SocketType) -> None:
            set_title(place.role)
            section = place.section

            def confine() -> None:
                chroot = os.path.join(self._base_dir, section.chroot) if section.chroot else ""
                child.become(section.user, extra_groups=True, chroot=chroot)
                syscall_filter.forbid(others=False)
                child.limit_memory(max(section.process_size_mib, _SIZE_FLOOR_MIB))

            # Imported here alone: the threads that it brings would cost every other child (see title).
            auth = importlib.import_module("mailproxy.process.auth")
            auth.run(section, place.listeners, channel, child.ChildLog().write, confine, self._questions())

        try:
            self._spawner.spawn(place.role, "auth", self._owner, place.listeners, body)
        except OSError as error:
            self._log(Level.ERROR, f"fork() for auth failed: {error.strerror}")
            self._restart_later(place)

    def _restart_later(self, place: _Place) -> None:
        self._reactor.call_later(place.restart_s, lambda: self._spawn(place))
        place.restart_s = min(place.restart_s * 2, _RESTART_MAX_S)

    def on_ready(self, sender: Child) -> None:
        """Take a process's word that it is ready."""
        place = self._places[sender.role]
        if not place.was_ready:
            place.was_ready = True
            self._awaited -= 1
            if self._awaited == 0 and not self.is_retired:
                self._on_all_ready()
        elif place.restart_s > _RESTART_MIN_S * 2:
            self._log(Level.INFO, "Created authentication processes successfully, unstalling")

    def on_death(self, dead: Child) -> None:
        """Fork a process again that has died, later if it was young."""
        place = self._places[dead.role]
        if self.is_retired:
            return
        if not place.was_ready:
            self._on_failed()
        elif dead.is_ready and self._reactor.now - dead.ready_at_s > _YOUNG_S:
            place.restart_s = _RESTART_MIN_S
            self._spawn(place)
        else:
            if place.restart_s == _RESTART_MIN_S:
                text = "Temporary failure in creating authentication processes, slowing down for now"
                self._log(Level.ERROR, text)
            self._restart_later(place)
