"""One configuration in force: its auth processes and its groups of login workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from mailproxy.auth.shares import Shares
from mailproxy.base.level import Level
from mailproxy.config.settings import LoginSettings, Settings
from mailproxy.ipc.auth_protocol import KNOWN_MECHANISMS
from mailproxy.ipc.status import Order, Status
from mailproxy.net.reactor import Reactor
from mailproxy.process import child, login, syscall_filter
from mailproxy.process.auth_processes import AuthProcesses
from mailproxy.process.auth_sockets import AuthSockets
from mailproxy.process.certificates import Certificates
from mailproxy.process.listeners import Listeners
from mailproxy.process.login_policy import make_policy
from mailproxy.process.question import Question
from mailproxy.process.rehearsal import rehearse
from mailproxy.process.spawner import Child, HasFileno, Spawner
from mailproxy.process.user_ip_table import UserIpTable
from mailproxy.session.policy import Policy, words_of_backends
from mailproxy.supervise.group import GroupPolicy

Log = Callable[[Level, str], None]

TICK_S = 0.25
_TICKS_A_SECOND = 4


class Generation:
    """Keeps its processes alive from `start` to `retire`. Listeners belong to the master.

    `on_auth_ready` is called once, when every auth process has said that it is ready; `on_auth_failed` when
    one died before that.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Reactor,
        spawner: Spawner,
        log: Log,
        certificates: Certificates,
        auth_sockets: AuthSockets,
        on_auth_ready: Callable[[], None],
        on_auth_failed: Callable[[], None],
        user_ips: UserIpTable | None,
    ) -> None:
        self.settings = settings
        self._reactor = reactor
        self._spawner = spawner
        self._log = log
        self._certificates = certificates
        self.auth_sockets = auth_sockets
        self._user_ips = user_ips
        self._auth = AuthProcesses(
            settings,
            reactor,
            spawner,
            log,
            auth_sockets,
            self._questions,
            self,
            on_auth_ready,
            on_auth_failed,
        )
        self._listeners = Listeners()
        self._groups: dict[str, GroupPolicy] = {}
        self._workers: dict[str, login.Worker] = {}
        self._serves_logins = False
        self._ticks = 0
        self.is_retired = False

    def start_auth(self) -> None:
        """Fork the auth processes."""
        if any(settings.login_seccomp for settings in self.settings.logins):
            syscall_filter.begin()
        self._auth.start()

    def _questions(self) -> dict[str, Question]:
        """Return what auth has to find out about backends, by protocol."""
        return {
            settings.protocol: Question(
                words_of_backends(settings.capability),
                self._certificates.backend.get(settings.protocol),
                settings.login_source_ips,
            )
            for settings in self.settings.logins
            if settings.capability_is_limited
        }

    # -- login workers ------------------------------------------------------------------------------------

    def _prepare_filter(self) -> None:
        is_wanted = any(settings.login_seccomp for settings in self.settings.logins)
        syscall_filter.has_scopes()
        if is_wanted and syscall_filter.loadable() is None:
            self._log(
                Level.INFO, "login_seccomp: pyseccomp or libseccomp is missing: system calls are not filtered"
            )

    def serve_logins(self, listeners: Listeners) -> None:
        """Fork login workers from now on."""
        self._listeners = listeners
        self._serves_logins = True
        self._prepare_filter()
        child.account.cache_clear()
        for settings in self.settings.logins:
            self._groups[settings.protocol] = GroupPolicy(
                settings.login_processes_count,
                settings.login_max_processes_count,
                settings.login_process_per_connection,
                self._log,
            )
            self._workers[settings.protocol] = self._prepare_worker(settings)
        self.adjust()

    def _make_policy(self, settings: LoginSettings) -> Policy:
        names = [name for section in self.settings.auths for name in section.mechanisms]
        known = [KNOWN_MECHANISMS[name] for name in dict.fromkeys(names) if name in KNOWN_MECHANISMS]
        return make_policy(settings, known, settings.protocol in self._certificates.contexts)

    def renew_logins(self, certificates: Certificates) -> None:
        """Fork login workers with other TLS contexts; those of before finish what they have and leave."""
        self._certificates = certificates
        if self._serves_logins and not self.is_retired:
            before = [child for child in self._spawner.children.values() if self._is_login(child)]
            self.serve_logins(self._listeners)
            for living in before:
                self._spawner.insist(living, Order.RETIRE)

    def _is_login(self, living: Child) -> bool:
        return living.owner is self and living.kind == "login"

    def adjust(self, is_due: bool = False) -> None:
        """Fork and order what the policies ask for now; what can wait a little waits until `is_due`."""
        if not self._serves_logins or self.is_retired:
            return
        for settings in self.settings.logins:
            group = self._groups[settings.protocol]
            relay_waits = self._listeners.waits_in_inlet(settings.protocol)
            for _ in range(group.to_spawn(self._reactor.now, relay_waits, is_due)):
                if not self._spawn_login(settings, group):
                    break
            for pid, order in group.orders(self._reactor.now):
                self._spawner.children[pid].order(order)

    def tick(self) -> None:
        """Adjust; to be called every `TICK_S`. What groups want changes once a second."""
        self._ticks = (self._ticks + 1) % _TICKS_A_SECOND
        if self._ticks == 0:
            for group in self._groups.values():
                group.on_tick(self._reactor.now)
        self.adjust(is_due=True)

    @property
    def needs_ticks(self) -> bool:
        """Whether time alone can change what is wanted."""
        return any(group.needs_ticks for group in self._groups.values()) or bool(self._listeners.inlets)

    @property
    def is_serving(self) -> bool:
        """Whether each protocol has its first workers ready."""
        return self._serves_logins and all(group.is_serving for group in self._groups.values())

    def _prepare_worker(self, settings: LoginSettings) -> login.Worker:
        """Make what every worker of a group begins as."""
        if settings.login_user:
            with contextlib.suppress(KeyError):  # The child says so.
                child.account(settings.login_user)
        if settings.login_process_per_connection:
            rehearse(settings)
        return login.Worker(
            settings,
            [self._listeners.by_address[address] for address in settings.listen],
            [self._listeners.by_address[address] for address in settings.ssl_listen],
            self._certificates.contexts.get(settings.protocol),
            self._certificates.backend.get(settings.protocol),
            self._certificates.seen,
            [Shares.of_section(section) for section in self.settings.auths],
            self._make_policy(settings),
            self._user_ips,
            self._listeners.inlets.get(settings.protocol),
        )

    def _spawn_login(self, settings: LoginSettings, group: GroupPolicy) -> bool:
        worker = self._workers[settings.protocol]
        addresses = (*settings.listen, *settings.ssl_listen)
        keeps: list[HasFileno] = [self._listeners.by_address[address] for address in addresses]
        if settings.protocol in self._listeners.inlets:
            keeps.append(self._listeners.inlets[settings.protocol])
        if self._user_ips is not None and settings.mail_max_userip_connections:
            keeps.append(self._user_ips)

        try:
            born = self._spawner.spawn(f"{settings.protocol}-login", "login", self, keeps, worker.run)
        except OSError as error:
            self._log(Level.ERROR, f"fork() for {settings.protocol}-login failed: {error.strerror}")
            group.on_fork_failed(self._reactor.now)
            return False
        group.on_spawned(born.pid)
        return True

    # -- children -----------------------------------------------------------------------------------------

    def on_status(self, sender: Child, status: Status) -> None:
        """Take a child's report."""
        if sender.kind == "login":
            for group in self._groups.values():
                group.on_status(sender.pid, status, self._reactor.now)
            self.adjust()
            return
        self._auth.on_ready(sender)

    def on_death(self, dead: Child, clean: bool) -> None:
        """Take a child's death; what should live is forked again."""
        if dead.kind == "login":
            for group in self._groups.values():
                group.on_died(dead.pid, clean, self._reactor.now)
            self.adjust()
        else:
            self._auth.on_death(dead)

    def fork_no_more(self) -> None:
        """Leave children as they are; who dies is not replaced."""
        self.is_retired = self._auth.is_retired = True

    def retire(self) -> None:
        """Let every child finish what it has and leave."""
        self.fork_no_more()
        for living in list(self._spawner.children.values()):
            if living.owner is self:
                self._spawner.insist(living, Order.RETIRE)
