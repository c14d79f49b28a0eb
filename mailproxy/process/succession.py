"""Which generation is in force, and how another takes its place.

A reload is a transaction. The new configuration is read and its listeners are opened; then its auth processes
start, and only when they are ready does the new generation take over and the old one retire. Whatever fails
on the way, the old one goes on as if nothing had happened. Listeners that both have are never closed.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Collection

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.level import Level
from mailproxy.config.load import load
from mailproxy.config.settings import Settings
from mailproxy.ipc.status import Status
from mailproxy.net.reactor import Reactor
from mailproxy.process import run_dir
from mailproxy.process.auth_sockets import AuthSockets
from mailproxy.process.certificates import Certificates
from mailproxy.process.generation import TICK_S, Generation
from mailproxy.process.listeners import Listeners
from mailproxy.process.log_sink import LogSink
from mailproxy.process.spawner import Child, Spawner
from mailproxy.process.user_ip_table import UserIps

_SIGHUP = "SIGHUP received - reloading configuration"
KEPT_OLD = "Invalid configuration, keeping old one"

OnDone = Callable[[list[str]], None]


class Succession:
    """Owns the generations, their auth sockets, and which listeners are open.

    `on_reloading` is called when a reload begins and `on_settled` when it or the start has come to its end,
    well or not; but `on_failed` when the first generation could not start,
    and `on_serving` once, when each protocol has its first workers ready.
    """

    def __init__(
        self,
        settings: Settings,
        certificates: Certificates,
        listeners: Listeners,
        sink: LogSink,
        on_reloading: Callable[[], None],
        on_settled: Callable[[], None],
        on_failed: Callable[[], None],
        user_ips: UserIps,
        on_serving: Callable[[], None],
    ) -> None:
        self.settings = settings
        """Those in force."""
        self.certificates = certificates
        self.current: Generation | None = None
        self._pending: Generation | None = None
        self._listeners = listeners
        self._user_ips = user_ips
        self._sink = sink
        self._log = sink.write
        self._on_reloading = on_reloading
        self._on_settled = on_settled
        self._on_failed = on_failed
        self._on_serving = on_serving
        self._has_served = False
        self._reactor: Reactor
        self._spawner: Spawner
        self._reload_again = False
        self._is_over = False
        self._is_held = False
        self._tick_is_armed = False
        self._waiting: list[OnDone] = []
        self._waiting_for_next: list[OnDone] = []
        self._auth_sockets: AuthSockets

    def open(self, taken: Collection[str] = ()) -> None:
        """Open the listeners and sockets of the first generation. Raises ConfigError.

        `taken` are the paths of auth sockets that a master of before leaves to us.
        """
        self._auth_sockets = self._listeners.open(self.settings, taken)

    def start(self, reactor: Reactor, spawner: Spawner) -> None:
        """Begin the first generation."""
        self._reactor, self._spawner = reactor, spawner
        self._begin(self.settings, self.certificates, self._auth_sockets)

    @property
    def auth_paths(self) -> list[str]:
        """The names of the auth sockets in force."""
        return self.current.auth_sockets.paths if self.current else []

    @property
    def is_pending(self) -> bool:
        """Whether a generation is on its way."""
        return self._pending is not None

    # -- taking over --------------------------------------------------------------------------------------

    def _begin(self, settings: Settings, certificates: Certificates, sockets: AuthSockets) -> None:
        self._pending = Generation(
            settings,
            self._reactor,
            self._spawner,
            self._log,
            certificates,
            sockets,
            lambda: self._take_over(certificates),
            self._give_up,
            self._user_ips.table_for(settings, self._reactor),
        )
        self._pending.start_auth()

    def _take_over(self, certificates: Certificates) -> None:
        """The pending generation's auth is ready: it is the current one from now on."""
        new, old = self._pending, self.current
        if new is None or self._is_over:
            return
        try:
            new.auth_sockets.publish()
        except OSError as error:
            self._log(Level.ERROR, f"Can't take over {error.filename}: {error.strerror}")
            self._give_up()
            return
        self._pending, self.current, self.settings = None, new, new.settings
        self.certificates = certificates
        new.serve_logins(self._listeners)
        if old is not None:
            old.retire()
            old.auth_sockets.close(new.auth_sockets.paths)
            self._listeners.keep_only(self.settings)
        self.arm_tick()
        self._finish_reload([])

    def _give_up(self) -> None:
        """The pending generation's auth died before it was ready."""
        failed, self._pending = self._pending, None
        if failed is not None:
            failed.retire()
            failed.auth_sockets.close()
        if self.current is None:
            self._log(Level.FATAL, "Auth process died too early - shutting down")
            self._on_failed()
        else:
            self._keep_old(["The new auth process did not become ready; the log says why."])

    # -- reload -------------------------------------------------------------------------------------------

    def reload(self, on_done: OnDone | None = None) -> None:
        """Begin a reload; `on_done` is told the problems, none when the new generation has taken over."""
        if self._is_over:
            if on_done:
                on_done(["mailproxy is about to end"])
            return
        if self._pending is not None or self._is_held:
            self._reload_again = True
            self._waiting_for_next += [on_done] if on_done else []
            return
        self._waiting += [on_done] if on_done else []
        self._reload()

    def _reload(self) -> None:
        self._on_reloading()
        self._log(Level.WARNING, "Reloading configuration" if self._waiting else _SIGHUP)
        # What earlier ones left in cycles: few objects, too few for Python to look by itself, and every child
        # would inherit them.
        gc.collect()
        try:
            settings = load(self.settings.path)
            if settings.base_dir != self.settings.base_dir:
                raise ConfigError([Problem("base_dir can't be changed by a reload; restart mailproxy")])
            certificates = Certificates(settings, self.certificates)
            warnings = [*settings.warnings, *certificates.warnings(), *run_dir.prepare(settings)]
            self._sink.open(settings.log)
            sockets = self._listeners.open(settings, self.auth_paths)
        except ConfigError as error:
            for problem in error.problems:
                self._log(Level.ERROR, str(problem))
            self._keep_old([str(problem) for problem in error.problems])
            return
        for warning in warnings:
            self._log(Level.WARNING, warning)
        self._begin(settings, certificates, sockets)

    def _keep_old(self, problems: list[str]) -> None:
        """A reload failed: let go of what was opened for it."""
        self._log(Level.WARNING, KEPT_OLD)
        self._listeners.keep_only(self.settings)
        with contextlib.suppress(ConfigError):
            self._sink.open(self.settings.log)
        self._finish_reload(problems)

    def _finish_reload(self, problems: list[str]) -> None:
        """Tell who waits, and reload once more when somebody asked during the last one."""
        self._on_settled()
        waiting, self._waiting = self._waiting, []
        for on_done in waiting:
            on_done(problems)
        if self._reload_again:
            self._reload_again = False
            self._waiting, self._waiting_for_next = self._waiting_for_next, []
            self._reload()

    def renew(self, certificates: Certificates) -> None:
        """Take certificates that were replaced; only workers are renewed for them."""
        self.certificates = certificates
        if self.current is not None:
            self.current.renew_logins(certificates)
            self.arm_tick()

    # -- children -----------------------------------------------------------------------------------------

    def on_status(self, sender: Child, status: Status) -> None:
        """Take a child's report."""
        if isinstance(sender.owner, Generation):
            sender.owner.on_status(sender, status)
        if not self._has_served and self.current is not None and self.current.is_serving:
            self._has_served = True
            self._on_serving()
        self.arm_tick()

    def on_death(self, dead: Child, clean: bool) -> None:
        """Take a child's death."""
        if isinstance(dead.owner, Generation):
            dead.owner.on_death(dead, clean)
            self.arm_tick()

    def arm_tick(self) -> None:
        """Tick while time matters; an idle service sleeps."""
        if self.current is not None and not self._tick_is_armed and self.current.needs_ticks:
            self._tick_is_armed = True
            self._reactor.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._tick_is_armed = False
        if self.current is not None and not self._is_over:
            self.current.tick()
            self.arm_tick()

    # -- the end ------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Change nothing any more, and have nobody forked: an auth that died may be waiting for it."""
        self._is_over = True
        for generation in (self.current, self._pending):
            if generation is not None:
                generation.fork_no_more()

    def hold(self) -> None:
        """Change nothing until `release`; a reload that somebody asks for waits."""
        self._is_held = True

    def release(self) -> None:
        """Change again, and do what was asked for meanwhile."""
        self._is_held = False
        self._finish_reload([])

    def remove_files(self, but: Collection[str] = ()) -> None:
        """Close the auth sockets and remove their names, except those that are another master's."""
        for generation in (self.current, self._pending):
            if generation is not None:
                generation.auth_sockets.close(but)
