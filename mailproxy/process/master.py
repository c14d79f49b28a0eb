"""The master: owns listeners, log files and the census of children; parses nothing from the network.

What it decides is elsewhere: which generation is in force in `succession`, how it ends in `ending`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from enum import Enum

import mailproxy
from mailproxy.base.errors import ConfigError
from mailproxy.base.level import Level
from mailproxy.config.settings import Settings
from mailproxy.ipc.handover import Facts
from mailproxy.ipc.status import Order, Status
from mailproxy.net.reactor import Reactor
from mailproxy.net.signals import Signals
from mailproxy.net.tls_context import forgive_odd_names
from mailproxy.process import census, child, deposit, run_dir, withdrawal
from mailproxy.process.activation import Passed, as_sockets, passed_fds
from mailproxy.process.certificate_watch import CertificateWatch
from mailproxy.process.certificates import Certificates
from mailproxy.process.control import Actions, Control, ask
from mailproxy.process.ending import Ending
from mailproxy.process.listeners import Listeners
from mailproxy.process.log_sink import LogSink
from mailproxy.process.predecessor import Predecessor
from mailproxy.process.pulse import Pulse
from mailproxy.process.service_manager import ServiceManager
from mailproxy.process.spawner import EXIT_FATAL, Child, Spawner
from mailproxy.process.succession import OnDone, Succession
from mailproxy.process.title import set_title
from mailproxy.process.upgrade import Upgrade
from mailproxy.process.user_ip_table import UserIps


class _Standing(Enum):
    CANDIDATE = 1
    """Another master still has the place that this one is to take."""
    IN_OFFICE = 2
    RETIRED = 3
    """The files are another master's, or nobody's; only sessions are left."""


class Master:
    """One per base_dir, for the life of the service."""

    def __init__(self, settings: Settings, predecessor: Predecessor | None = None) -> None:
        """`predecessor` is the running master whose place this one takes, if there is one."""
        self._settings = settings
        self._predecessor = predecessor
        self._standing = _Standing.CANDIDATE if predecessor else _Standing.IN_OFFICE
        self._outlets: dict[str, socket.socket] = {}
        self._sink = LogSink()
        self._pid_file = run_dir.PidFile(settings.base_dir)
        self._listeners = Listeners()
        self._user_ips = UserIps(settings.base_dir, self._log)
        self._succession: Succession
        self._control: Control | None = None
        self._reactor: Reactor
        self._spawner: Spawner
        self._ending: Ending
        self._upgrade: Upgrade
        self._watch: CertificateWatch
        self._pulse: Pulse
        self._manager: ServiceManager
        self._passed: list[Passed] = []
        self._feeder: withdrawal.Feeder | None = None
        self._has_told_predecessor = False
        self._exit_status = 0

    # -- start --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the directories, the lock and the listeners. Raises ConfigError."""
        if self._predecessor is not None:
            self._predecessor.receive(self._settings.base_dir)
            self._listeners.adopt(self._predecessor.listeners)
        else:
            self._passed = passed_fds(os.environ)
            self._listeners.adopt(as_sockets([p for p in self._passed if not withdrawal.is_of_sessions(p)]))
        certificates = Certificates(self._settings)
        self._start_warnings = [
            *self._settings.warnings,
            *certificates.warnings(),
            *run_dir.prepare(self._settings),
        ]
        self._succession = Succession(
            *(self._settings, certificates, self._listeners, self._sink, self._on_reloading),
            *(self._on_settled, self._on_start_failed, self._user_ips, self._on_serving),
        )
        if self._predecessor is None:
            self._pid_file.lock()
        else:
            self._pid_file.inherit(self._predecessor.lock_fd)
        try:
            self._control = Control(self._settings.base_dir, is_hidden=self._predecessor is not None)
            self._sink.open(self._settings.log)
            self._succession.open(self._predecessor.auth_paths if self._predecessor else ())
            unused = self._listeners.drop_offered()
            if self._predecessor is None:
                self._start_warnings += [
                    f"The service manager passed a socket of {place}, which no listen names; closed"
                    for place in unused
                ]
        except ConfigError:
            self._remove_files()
            raise

    def run(self) -> int:
        """Serve until stopped; returns the exit status."""
        self._settle_in()
        self._assemble()
        # Children inherit both: one that is killed for hanging leaves the place where it hung in the log.
        faulthandler.enable(2)
        sys.unraisablehook = forgive_odd_names
        # What exists now is shared with every child for as long as neither writes to it.
        gc.collect()
        gc.freeze()
        if self._predecessor is not None:
            self._outlets = self._listeners.open_inlets([one.protocol for one in self._settings.logins])
            self._predecessor.listen(self._reactor, self._on_predecessor)
        elif self._passed:
            self._take_back()
        if self._control is not None:
            self._control.start(self._reactor, self._log, self._actions())
        self._succession.start(self._reactor, self._spawner)
        self._manager.start(self._reactor)
        self._pulse.start()
        self._reactor.run()
        self._clean_up()
        return self._exit_status

    def _settle_in(self) -> None:
        if self._standing is _Standing.IN_OFFICE:
            self._pid_file.write()
        os.umask(0o077)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        child.no_core_dump()
        set_title("master")
        self._log(Level.INFO, f"mailproxy v{mailproxy.__version__} starting up")
        for warning in self._start_warnings:
            self._log(Level.WARNING, warning)

    def _assemble(self) -> None:
        """Make the parts that need a reactor, which is not there before we have become a daemon."""
        self._reactor = Reactor()
        self._started_s = self._reactor.now
        self._spawner = Spawner(self._reactor, self._sink, self._on_status, self._on_death)
        self._ending = Ending(self._reactor, self._spawner, self._listeners, self._is_alone)
        self._upgrade = Upgrade(
            *(self._reactor, self._log, self._listeners, self._succession, self._ending),
            *(self._on_retired, self._on_upgrade_failed, self._on_successor),
        )
        self._watch = CertificateWatch(self._reactor, self._succession, self._log)
        self._manager = ServiceManager(os.environ, lambda: census.total(self._spawner.children.values()))
        self._pulse = Pulse(self._reactor, self._spawner, self._log)
        self._signals = Signals(
            self._reactor,
            {
                signal.SIGTERM: self._on_sigterm,
                signal.SIGINT: self._stop,
                signal.SIGHUP: self._succession.reload,
                signal.SIGUSR1: self._reopen_logs,
                signal.SIGUSR2: lambda: self._begin_upgrade(lambda problems: None),
                signal.SIGCHLD: self._spawner.reap,
            },
        )

    def _log(self, level: Level, text: str) -> None:
        self._sink.write(level, text)

    def _on_settled(self) -> None:
        """A generation has taken over, or the old one stays."""
        self._watch.arm()
        if self._standing is _Standing.IN_OFFICE:
            self._manager.ready()

    def _on_reloading(self) -> None:
        self._manager.reloading()

    def _on_start_failed(self, why: str = "Auth process died too early") -> None:
        self._exit_status = EXIT_FATAL
        if self._predecessor is not None and self._standing is _Standing.CANDIDATE:
            self._predecessor.refuse([why])
        self._stop()

    def _reopen_logs(self) -> None:
        self._sink.reopen()
        if self._predecessor is not None:
            self._predecessor.reopen_logs()

    # -- one master after another -------------------------------------------------------------------------

    def _take_back(self) -> None:
        """Have what the service manager has kept since the last stop ready for the workers."""
        kept, lost = withdrawal.take_back([one for one in self._passed if withdrawal.is_of_sessions(one)])
        if lost:
            self._log(
                Level.WARNING, f"{lost} descriptors of the service manager's store are of no use; closed"
            )
        if kept:
            self._log(Level.INFO, f"{len(kept)} sessions come back from the service manager's store")
        protocols = [one.protocol for one in self._settings.logins] if kept else []
        outlets = self._listeners.open_inlets(protocols)
        self._feeder = withdrawal.Feeder(self._reactor, outlets, kept, self._log)

    def _put_away(self, settings: Settings) -> None:
        """Let sessions and listeners outlive this process, if the service manager keeps them."""
        grace_s = settings.shutdown_grace_s
        deposit.store_all(
            *(self._manager, self._listeners, self._workers()),
            self._feeder.give_up() if self._feeder else [],
            b"" if settings.shutdown_clients or not grace_s else b"%d" % grace_s,
            self._log,
            self._spawner.drain_logs,
        )

    def _on_serving(self) -> None:
        if self._feeder is not None:
            # First of all: what is fed must not come back once more, should this process be killed.
            withdrawal.empty(self._manager)
            self._feeder.feed()
        if self._predecessor is not None and self._standing is _Standing.CANDIDATE:
            self._predecessor.say_ready(self._outlets, self._succession.auth_paths)

    def _on_predecessor(self, word: str) -> None:
        if self._ending.has_begun:
            if word == "gone":
                self._ending.go_on()
        elif self._standing is _Standing.CANDIDATE:
            if word == "stop":
                self._on_start_failed("the old master is about to end")
            else:
                # One that was killed in the middle leaves its place to us as well: its lock is ours too.
                self._take_office()

    def _take_office(self) -> None:
        self._standing = _Standing.IN_OFFICE
        self._pid_file.write()
        if self._control is not None:
            self._control.publish()
        for outlet in self._outlets.values():
            outlet.close()
        self._manager.ready()

    def _begin_upgrade(self, on_done: OnDone) -> None:
        if self._standing is not _Standing.IN_OFFICE:
            on_done(["mailproxy is about to end, or to be replaced"])
        elif self._feeder is not None and not self._feeder.is_over:
            on_done(["sessions of before the restart are still on their way; try again"])
        else:
            self._upgrade.begin(self._pid_file.fileno(), on_done)

    def _on_retired(self, successor_pid: int) -> None:
        self._standing = _Standing.RETIRED
        self._manager.leave(successor_pid)
        self._watch.end()
        self._pid_file.let_go()
        if self._control is not None:
            self._control.leave()

    def _on_upgrade_failed(self) -> None:
        if self._control is not None:
            self._control.remove_leftover()

    def _on_successor(self, word: str, facts: Facts, fds: Sequence[int]) -> None:
        """The one who has our place passes on what an administrator wants of all."""
        if word == "reopen":
            self._reopen_logs()
        elif word == "end":
            self._stop()
        elif word == "ask" and fds:
            with (
                contextlib.suppress(OSError, ValueError, KeyError),
                socket.socket(fileno=os.dup(fds[0])) as sock,
            ):
                order = {"who": Order.WHO, "kick": Order.KICK}[facts["order"]]
                self._ask_workers(order, str(facts["argument"]).encode("latin-1"), sock)

    def _is_alone(self) -> bool:
        """Whether no master of before is still ending sessions that we have told it to end."""
        return self._predecessor is None or self._predecessor.is_gone or not self._has_told_predecessor

    # -- what an administrator asks for -------------------------------------------------------------------

    def _actions(self) -> Actions:
        return Actions(
            *(self._describe, self._workers, self._ask_workers, self._ready_auth),
            *(self._succession.reload, self._begin_upgrade, self._stop),
        )

    def _describe(self) -> str:
        up_s = self._reactor.now - self._started_s
        lines = [
            f"mailproxy v{mailproxy.__version__}, PID {os.getpid()}, up for {up_s:.0f} s",
            f"configuration: {self._succession.settings.path}",
            *census.in_words(self._spawner.children.values(), self._succession.current),
            *self._succession.certificates.ends_in_words(),
            *self._predecessors_in_words(),
        ]
        return "\n".join(lines)

    def _predecessors_in_words(self) -> list[str]:
        if self._predecessor is None or self._predecessor.is_gone:
            return []
        return ["the master of before the last upgrade has sessions too, which `who` shows"]

    def _workers(self) -> list[Child]:
        """Those of every generation."""
        return [living for living in self._spawner.children.values() if living.kind == "login"]

    def _ask_workers(self, order: Order, argument: bytes, sock: socket.socket) -> None:
        ask(self._workers(), order, argument, sock)
        if self._predecessor is not None:
            self._predecessor.ask(order, argument, sock)

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
        elif self._standing is _Standing.CANDIDATE and not dead.is_ready:
            self._on_start_failed(f"child {dead.pid} ({dead.kind}) ended before it was ready")
        else:
            self._succession.on_death(dead, clean)

    # -- the end ------------------------------------------------------------------------------------------

    def _on_sigterm(self) -> None:
        self._log(Level.WARNING, f"Killed with signal {signal.SIGTERM.value}")
        self._stop(may_be_restart=self._manager.store_limit_fds > 0)

    def _stop(self, *, may_be_restart: bool = False) -> None:
        """With `may_be_restart` what can go into the store does so, and nobody is waited for."""
        if self._standing is _Standing.IN_OFFICE:
            self._manager.stopping()
        goes_away = may_be_restart and self._standing is _Standing.IN_OFFICE and not self._ending.has_begun
        settings = self._succession.settings
        ends_relays = (
            settings.shutdown_clients or self._ending.has_begun or self._standing is _Standing.CANDIDATE
        )
        self._upgrade.cancel()
        self._succession.end()
        self._watch.end()
        self._pulse.end()
        if goes_away:
            self._put_away(settings)
        if self._predecessor is not None and self._standing is not _Standing.CANDIDATE and ends_relays:
            self._predecessor.end()
            self._has_told_predecessor = True
        if not ends_relays:
            # Another mailproxy may start while sessions of this one live on.
            self._remove_files()
        self._ending.begin(ends_relays=ends_relays, grace_s=settings.shutdown_grace_s)
        if goes_away and not ends_relays:
            # The service is down until we have gone: workers with sessions do without us.
            self._reactor.stop()

    def _clean_up(self) -> None:
        self._spawner.drain_logs()
        self._remove_files()
        self._sink.close()

    def _remove_files(self) -> None:
        """Leave nothing behind but what is another master's."""
        if self._standing is _Standing.RETIRED:
            return
        if self._control is not None:
            self._control.close()
        if self._standing is _Standing.IN_OFFICE:
            self._succession.remove_files()
            self._user_ips.remove()
            self._pid_file.remove()
        elif self._predecessor is not None:
            self._succession.remove_files(but=self._predecessor.auth_paths)
        self._standing = _Standing.RETIRED
