"""The master: owns listeners, log files and the census of children; parses nothing from the network.

What it decides is elsewhere: which generation is in force in `succession`, how it ends in `ending`.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import signal

import mailproxy
from mailproxy.base.errors import ConfigError
from mailproxy.base.level import Level
from mailproxy.config.settings import Settings
from mailproxy.ipc.status import Status
from mailproxy.net.reactor import Reactor
from mailproxy.net.signals import Signals
from mailproxy.process import census, run_dir
from mailproxy.process.certificate_watch import CertificateWatch
from mailproxy.process.certificates import Certificates
from mailproxy.process.control import Actions, Control
from mailproxy.process.ending import Ending
from mailproxy.process.listeners import Listeners
from mailproxy.process.log_sink import LogSink
from mailproxy.process.pulse import Pulse
from mailproxy.process.service_manager import ServiceManager
from mailproxy.process.spawner import EXIT_FATAL, Child, Spawner
from mailproxy.process.succession import Succession
from mailproxy.process.title import set_title
from mailproxy.process.user_ip_table import UserIps


class Master:
    """One per base_dir, for the life of the service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sink = LogSink()
        self._pid_file = run_dir.PidFile(settings.base_dir)
        self._listeners = Listeners()
        self._user_ips = UserIps(settings.base_dir, self._log)
        self._succession: Succession
        self._control: Control | None = None
        self._reactor: Reactor
        self._spawner: Spawner
        self._ending: Ending
        self._watch: CertificateWatch
        self._pulse: Pulse
        self._manager: ServiceManager
        self._exit_status = 0

    # -- start --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the directories, the lock and the listeners. Raises ConfigError."""
        certificates = Certificates(self._settings)
        self._start_warnings = [
            *self._settings.warnings,
            *certificates.warnings(),
            *run_dir.prepare(self._settings),
        ]
        self._succession = Succession(
            self._settings,
            certificates,
            self._listeners,
            self._sink,
            lambda: self._manager.reloading(),
            self._on_settled,
            self._on_start_failed,
            self._user_ips,
        )
        self._pid_file.lock()
        try:
            self._control = Control(self._settings.base_dir)
            self._sink.open(self._settings.log)
            self._succession.open()
        except ConfigError:
            self._remove_files()
            raise

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
        self._started_s = self._reactor.now
        self._spawner = Spawner(self._reactor, self._sink, self._on_status, self._on_death)
        self._ending = Ending(self._reactor, self._spawner, self._listeners)
        self._watch = CertificateWatch(self._reactor, self._succession, self._log)
        self._manager = ServiceManager(os.environ, lambda: census.total(self._spawner.children.values()))
        self._pulse = Pulse(self._reactor, self._spawner, self._log)
        self._signals = Signals(
            self._reactor,
            {
                signal.SIGTERM: self._on_sigterm,
                signal.SIGINT: self._stop,
                signal.SIGHUP: self._succession.reload,
                signal.SIGUSR1: self._sink.reopen,
                signal.SIGCHLD: self._spawner.reap,
            },
        )
        # Children inherit it: one that is killed for hanging leaves the place where it hung in the log.
        faulthandler.enable(2)
        # What exists now is shared with every child for as long as neither writes to it.
        gc.collect()
        gc.freeze()
        if self._control is not None:
            self._control.start(self._reactor, self._log, self._actions())
        self._succession.start(self._reactor, self._spawner)
        self._manager.start(self._reactor)
        self._pulse.start()
        self._reactor.run()
        self._clean_up()
        return self._exit_status

    def _log(self, level: Level, text: str) -> None:
        self._sink.write(level, text)

    def _on_settled(self) -> None:
        """A generation has taken over, or the old one stays."""
        self._watch.arm()
        self._manager.ready()

    def _on_start_failed(self) -> None:
        self._exit_status = EXIT_FATAL
        self._stop()

    # -- what an administrator asks for -------------------------------------------------------------------

    def _actions(self) -> Actions:
        return Actions(self._describe, self._workers, self._ready_auth, self._succession.reload, self._stop)

    def _describe(self) -> str:
        up_s = self._reactor.now - self._started_s
        lines = [
            f"mailproxy v{mailproxy.__version__}, PID {os.getpid()}, up for {up_s:.0f} s",
            f"configuration: {self._succession.settings.path}",
            *census.in_words(self._spawner.children.values(), self._succession.current),
            *self._succession.certificates.ends_in_words(),
        ]
        return "\n".join(lines)

    def _workers(self) -> list[Child]:
        """Those of every generation."""
        return [living for living in self._spawner.children.values() if living.kind == "login"]

    def _ready_auth(self) -> Child | None:
        for living in self._spawner.children.values():
            if living.kind == "auth" and living.is_ready and living.owner is self._succession.current:
                return living
        return None

    # -- children -----------------------------------------------------------------------------------------

    def _on_status(self, sender: Child, status: Status) -> None:
        # A worker on its way out is full; another would find the listeners closed.
        if not self._ending.has_begun:
            self._succession.on_status(sender, status)

    def _on_death(self, dead: Child, clean: bool) -> None:
        if not clean:
            self._user_ips.forget(dead.pid)
        if self._ending.has_begun:
            self._ending.go_on()
        else:
            self._succession.on_death(dead, clean)

    # -- the end ------------------------------------------------------------------------------------------

    def _on_sigterm(self) -> None:
        self._log(Level.WARNING, f"Killed with signal {signal.SIGTERM.value}")
        self._stop()

    def _stop(self) -> None:
        self._manager.stopping()
        self._succession.end()
        self._watch.end()
        self._pulse.end()
        self._ending.begin(ends_relays=self._succession.settings.shutdown_clients)

    def _clean_up(self) -> None:
        self._spawner.drain_logs()
        self._remove_files()
        self._sink.close()

    def _remove_files(self) -> None:
        if self._control is not None:
            self._control.close()
        self._succession.remove_files()
        self._user_ips.remove()
        self._pid_file.remove()
