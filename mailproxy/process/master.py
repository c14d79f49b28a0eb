"""The master: owns listeners, log files and the census of children; parses nothing from the network.

A reload is a transaction. The new configuration is read and its listeners are opened; then its auth processes
start, and only when they are ready does the new generation take over and the old one retire. Whatever fails
on the way, the old one goes on as if nothing had happened. Listeners that both have are never closed.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket

import mailproxy
from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.level import Level
from mailproxy.config.load import load
from mailproxy.config.settings import Address, Settings
from mailproxy.ipc.status import Status
from mailproxy.net.listen import listen_tcp
from mailproxy.net.reactor import Reactor
from mailproxy.net.signals import Signals
from mailproxy.process import run_dir
from mailproxy.process.auth_sockets import AuthSockets
from mailproxy.process.certificates import Certificates
from mailproxy.process.generation import Generation
from mailproxy.process.log_sink import LogSink
from mailproxy.process.spawner import EXIT_FATAL, Child, Spawner
from mailproxy.process.title import set_title

_TICK_S = 1.0
# How often certificates are looked at for others in their place; only with TLS.
_WATCH_S = 30.0
_WARN_AGAIN_S = 86400.0
# Children that were told to end and did not are killed after so long.
_STOP_S = 5.0


class Master:
    """One per base_dir, for the life of the service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sink = LogSink()
        self._pid_file = run_dir.PidFile(settings.base_dir)
        self._listeners: dict[Address, socket.socket] = {}
        self._reactor: Reactor
        self._spawner: Spawner
        self._certificates: Certificates
        self._current: Generation | None = None
        self._pending: Generation | None = None
        self._reload_again = False
        self._is_stopping = False
        self._exit_status = 0
        self._tick_is_armed = False
        self._watch_is_armed = False
        self._warn_again_s = 0.0

    # -- start --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the directories, the lock and the listeners. Raises ConfigError."""
        self._certificates = Certificates(self._settings)
        warnings = [
            *self._settings.warnings,
            *self._certificates.warnings(),
            *run_dir.prepare(self._settings),
        ]
        self._pid_file.lock()
        try:
            self._sink.open(self._settings.log)
            self._start_sockets = self._open_listeners(self._settings)
        except ConfigError:
            self._remove_files()
            raise
        self._start_warnings = warnings

    def run(self) -> int:
        """Serve until stopped; returns the exit status."""
        self._pid_file.write()
        os.umask(0o077)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        set_title("master")
        self._log(Level.INFO, f"mailproxy v{mailproxy.__version__} starting up")
        for warning in self._start_warnings:
            self._log(Level.WARNING, warning)
        self._reactor = Reactor()
        self._spawner = Spawner(self._reactor, self._sink, self._on_status, self._on_death)
        self._signals = Signals(
            self._reactor,
            {
                signal.SIGTERM: self._on_sigterm,
                signal.SIGINT: self._stop,
                signal.SIGHUP: self._reload,
                signal.SIGUSR1: self._sink.reopen,
                signal.SIGCHLD: lambda: self._spawner.reap(),
            },
        )
        # What exists now is shared with every child for as long as neither writes to it.
        gc.collect()
        gc.freeze()
        self._begin(self._settings, self._certificates, self._start_sockets)
        self._reactor.run()
        self._clean_up()
        return self._exit_status

    def _log(self, level: Level, text: str) -> None:
        self._sink.write(level, text)

    def _open_listeners(self, settings: Settings) -> AuthSockets:
        """Open what is not open yet, and sockets for auth. Raises ConfigError, and nothing has changed."""
        problems: list[Problem] = []
        tcp: dict[Address, socket.socket] = {}
        for login in settings.logins:
            for address in (*login.listen, *login.ssl_listen):
                if address not in self._listeners and address not in tcp:
                    try:
                        tcp[address] = listen_tcp(address.host, address.port)
                    except OSError as error:
                        text = f"listen({address.host}:{address.port}) failed: {error.strerror}"
                        problems.append(Problem(text))
        if not problems:
            try:
                taken = self._current.auth_sockets.paths if self._current else ()
                sockets = AuthSockets(settings, taken)
                self._listeners |= tcp
                return sockets
            except ConfigError as error:
                problems = error.problems
        for listener in tcp.values():
            listener.close()
        raise ConfigError(problems)

    # -- generations --------------------------------------------------------------------------------------

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
        )
        self._pending.start_auth()

    def _take_over(self, certificates: Certificates) -> None:
        """The pending generation's auth is ready: it is the current one from now on."""
        new, old = self._pending, self._current
        if new is None or self._is_stopping:
            return
        try:
            new.auth_sockets.publish()
        except OSError as error:
            self._log(Level.ERROR, f"Can't take over {error.filename}: {error.strerror}")
            self._give_up()
            return
        self._pending, self._current, self._settings = None, new, new.settings
        self._certificates = certificates
        new.serve_logins(self._listeners)
        if old is not None:
            old.retire()
            old.auth_sockets.close(new.auth_sockets.paths)
            self._close_unused_listeners()
        self._arm_tick()
        self._arm_watch()
        self._reload_if_asked()

    def _give_up(self) -> None:
        """The pending generation's auth died before it was ready."""
        failed, self._pending = self._pending, None
        if failed is not None:
            failed.retire()
            failed.auth_sockets.close()
        if self._current is None:
            self._log(Level.FATAL, "Auth process died too early - shutting down")
            self._exit_status = EXIT_FATAL
            self._stop()
        else:
            self._keep_old()

    def _keep_old(self) -> None:
        """A reload failed: let go of what was opened for it."""
        self._log(Level.WARNING, "Invalid configuration, keeping old one")
        self._close_unused_listeners()
        with contextlib.suppress(ConfigError):
            self._sink.open(self._settings.log)
        self._reload_if_asked()

    def _reload_if_asked(self) -> None:
        """Reload once more when a signal came during the last one."""
        if self._reload_again:
            self._reload_again = False
            self._reload()

    def _close_unused_listeners(self) -> None:
        used = {address for login in self._settings.logins for address in (*login.listen, *login.ssl_listen)}
        for address in [a for a in self._listeners if a not in used]:
            self._listeners.pop(address).close()

    def _reload(self) -> None:
        if self._is_stopping:
            return
        if self._pending is not None:
            self._reload_again = True
            return
        self._log(Level.WARNING, "SIGHUP received - reloading configuration")
        try:
            settings = load(self._settings.path)
            if settings.base_dir != self._settings.base_dir:
                raise ConfigError([Problem("base_dir can't be changed by a reload; restart mailproxy")])
            certificates = Certificates(settings, self._certificates)
            warnings = [*settings.warnings, *certificates.warnings(), *run_dir.prepare(settings)]
            self._sink.open(settings.log)
            sockets = self._open_listeners(settings)
        except ConfigError as error:
            for problem in error.problems:
                self._log(Level.ERROR, str(problem))
            self._keep_old()
            return
        for warning in warnings:
            self._log(Level.WARNING, warning)
        self._begin(settings, certificates, sockets)

    # -- certificates -------------------------------------------------------------------------------------

    def _arm_watch(self) -> None:
        if self._certificates.is_watched and not self._watch_is_armed:
            self._watch_is_armed = True
            self._warn_again_s = self._reactor.now + _WARN_AGAIN_S
            self._reactor.call_later(_WATCH_S, self._watch)

    def _watch(self) -> None:
        """Take certificates that were replaced; only workers are renewed for them."""
        if self._is_stopping or not self._certificates.is_watched:
            self._watch_is_armed = False
            return
        self._reactor.call_later(_WATCH_S, self._watch)
        if self._current is None or self._pending is not None:
            return
        try:
            renewed = self._certificates.renewed()
        except ConfigError as error:
            for problem in error.problems:
                self._log(Level.ERROR, str(problem))
            self._log(Level.WARNING, "Certificates have changed and cannot be used, keeping old ones")
            return
        if renewed is not None:
            self._certificates = renewed
            self._log(Level.INFO, "Certificates have changed, login processes take the new ones")
            self._current.renew_logins(renewed)
            self._arm_tick()
        if renewed is not None or self._reactor.now >= self._warn_again_s:
            self._warn_again_s = self._reactor.now + _WARN_AGAIN_S
            for warning in self._certificates.warnings():
                self._log(Level.WARNING, warning)

    # -- children -----------------------------------------------------------------------------------------

    def _on_status(self, sender: Child, status: Status) -> None:
        if self._is_stopping:
            return  # A worker on its way out is full; another would find the listeners closed.
        if isinstance(sender.owner, Generation):
            sender.owner.on_status(sender, status)
        self._arm_tick()

    def _on_death(self, dead: Child, clean: bool) -> None:
        if self._is_stopping:
            self._end_children()
        elif isinstance(dead.owner, Generation):
            dead.owner.on_death(dead, clean)
            self._arm_tick()

    def _arm_tick(self) -> None:
        """Tick while time matters; an idle service sleeps."""
        if self._current is not None and not self._tick_is_armed and self._current.needs_ticks:
            self._tick_is_armed = True
            self._reactor.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        self._tick_is_armed = False
        if self._current is not None and not self._is_stopping:
            self._current.tick()
            self._arm_tick()

    # -- the end ------------------------------------------------------------------------------------------

    def _on_sigterm(self) -> None:
        self._log(Level.WARNING, f"Killed with signal {signal.SIGTERM.value}")
        self._stop()

    def _stop(self) -> None:
        """Close the listeners and end every child; relays live on when `shutdown_clients = no`."""
        if self._is_stopping:
            self._kill_all()
            return
        self._is_stopping = True
        for listener in self._listeners.values():
            listener.close()
        if self._settings.shutdown_clients:
            self._reactor.call_later(_STOP_S, self._kill_all)
            self._end_children()
        else:
            # The end of our process is the word to them: they take no more and live to their relays' end.
            self._reactor.stop()

    def _end_children(self) -> None:
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

    def _clean_up(self) -> None:
        self._spawner.drain_logs()
        self._remove_files()
        self._sink.close()

    def _remove_files(self) -> None:
        for generation in (self._current, self._pending):
            if generation is not None:
                generation.auth_sockets.close()
        self._pid_file.remove()
