"""How many login workers of one protocol there should be: Dovecot 1.0's pre-fork rules, as pure policy.

Wanted is the number of *listening* workers. It starts at `login_processes_count`, doubles each second in
which nobody listens, and sinks by one each second otherwise, never below the start. A worker that takes its
one client is replaced at once; the doubling is for bursts that outrun forking. All workers together never
exceed `login_max_processes_count`. Near that limit each connection with a process of its own costs the oldest
clients that have not logged in theirs, before it is reached: some workers are always free, more when a flood
takes them faster than they start.

A worker that dies before it was ever ready stalls the group: one more is tried after a delay that doubles up
to a minute, until one becomes ready. So a broken certificate costs a log line a minute, not a fork storm.
Workers that die right after they were ready, one after the other, stall it as well, until one has lived on;
not those that had taken the only client they get.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mailproxy.base.level import Level
from mailproxy.ipc.status import Order, State, Status

_STALL_MIN_S = 1.0
_STALL_MAX_S = 60.0
# Else whoever gets the last process would be dropped before he can log in. The older half of many have had
# their turn sooner: a flood must not have whoever comes next wait for a second.
_GRACE_S = 1.0
_CROWD_GRACE_S = 0.25
# A worker that was told to drop its login and lives on after this will not make room soon: the client's
# password was accepted, or he does not hang up.
_ANSWER_S = 0.25
# At most this part of all workers is kept free at the cost of clients that are logging in.
_SPARE_SHARE = 8
# After a fork the master copies each page that it writes to: several forks in a row share most of that.
_BATCH = 8
_BATCH_SHARE = 8
_YOUNG_S = 1.0
# So many young workers may be killed before it counts as a storm, or a group's whole base if that is more.
_YOUNG_DEATHS = 3


@dataclass(slots=True)
class _Worker:
    is_ready: bool = False
    state: State = State.LISTENING
    ready_at_s: float = 0.0
    full_since_s: float = 0.0
    told_at_s: float = -math.inf
    """When it was last told to drop its login."""

    @property
    def has_login(self) -> bool:
        """Whether it is full, and somebody there may not have logged in."""
        return self.state is State.FULL_WITH_LOGINS


class GroupPolicy:
    """The census of one group. All times are monotonic seconds."""

    def __init__(
        self, base_count: int, max_count: int, per_connection: bool, log: Callable[[Level, str], None]
    ) -> None:
        self._base_count = base_count
        self._max_count = max_count
        self._per_connection = per_connection
        self._log = log
        self._workers: dict[int, _Worker] = {}
        self.listening = 0
        """Workers that accept, or will as soon as they have started."""
        self._wanted = base_count
        self._stall_s = 0.0
        self._stalled_until_s = 0.0
        self._young_deaths = 0
        self._young_death_at_s = 0.0

    @property
    def pids(self) -> list[int]:
        """Everyone who lives."""
        return list(self._workers)

    def on_spawned(self, pid: int) -> None:
        """Count a worker that has been forked."""
        self._workers[pid] = _Worker()
        self.listening += 1

    def on_status(self, pid: int, status: Status, now_s: float) -> None:
        """Take a worker's report; its first one says that it is ready."""
        worker = self._workers.get(pid)
        if worker is None or status.state is State.STARTING:
            return
        if not worker.is_ready:
            worker.is_ready, worker.ready_at_s = True, now_s
            if not self._young_deaths:
                self._unstall()
        was_listening = worker.state is State.LISTENING
        worker.state = status.state
        is_listening = worker.state is State.LISTENING
        if was_listening and not is_listening:
            worker.full_since_s = now_s
        self.listening += is_listening - was_listening

    def on_died(self, pid: int, clean: bool, now_s: float) -> None:
        """Forget a worker; `clean` means that it left by itself with status 0."""
        if pid not in self._workers:
            return
        if self._young_deaths and self._has_lived_on(now_s):
            self._young_deaths = 0
        worker = self._workers.pop(pid)
        if worker.state is State.LISTENING:
            self.listening -= 1
        if not clean:
            self._wanted = self._base_count
        if not worker.is_ready:
            self._stall(now_s)
        elif not clean and now_s - worker.ready_at_s < _YOUNG_S and not self._has_had_its_client(worker):
            self._died_young(now_s)

    def _has_had_its_client(self, worker: _Worker) -> bool:
        """Whether it took the only one that it gets: its end is his alone, whoever brought it about."""
        return self._per_connection and worker.state is not State.LISTENING

    def _died_young(self, now_s: float) -> None:
        self._young_deaths += 1
        self._young_death_at_s = now_s
        if self._young_deaths > max(_YOUNG_DEATHS, self._base_count):
            self._stall(now_s)

    def _has_lived_on(self, now_s: float) -> bool:
        """Whether anybody who came after the last young death is not young any more."""
        return any(
            worker.is_ready and self._young_death_at_s <= worker.ready_at_s <= now_s - _YOUNG_S
            for worker in self._workers.values()
        )

    def on_fork_failed(self, now_s: float) -> None:
        """Note that the system refuses another process."""
        self._stall(now_s)

    def _stall(self, now_s: float) -> None:
        if not self._stall_s:
            self._log(Level.ERROR, "Temporary failure in creating login processes, slowing down for now")
        if now_s >= self._stalled_until_s:
            self._stall_s = min(max(self._stall_s * 2, _STALL_MIN_S), _STALL_MAX_S)
            self._stalled_until_s = now_s + self._stall_s

    def _unstall(self) -> None:
        if self._stall_s:
            self._stall_s = self._stalled_until_s = 0.0
            self._log(Level.INFO, "Created login processes successfully, unstalling")

    @property
    def is_serving(self) -> bool:
        """Whether as many are ready as are wanted at the start: sessions that come over find them all."""
        ready = sum(worker.is_ready for worker in self._workers.values())
        return ready >= min(self._base_count, self._max_count)

    def to_spawn(self, now_s: float, relay_waits: bool = False, is_due: bool = True) -> int:
        """How many to fork now; after failures one at a time.

        A session of the version before that waits for a worker gets one, whatever the limit says. While few
        of many are missing there is time until `is_due`.
        """
        room = max(self._max_count - len(self._workers), int(relay_waits and not self.listening))
        lacking = self._wanted - self.listening
        if lacking < min(self._wanted // _BATCH_SHARE, _BATCH) and not (is_due or relay_waits):
            return 0
        missing = max(0, min(lacking, room))
        if self._stall_s:
            unproven = any(not worker.is_ready for worker in self._workers.values())
            return 0 if now_s < self._stalled_until_s or unproven else min(missing, 1)
        return missing

    def on_tick(self, now_s: float) -> None:
        """Adjust what is wanted, once a second."""
        if self._young_deaths and self._has_lived_on(now_s):
            self._young_deaths = 0
            self._unstall()
        if self.listening == 0 and not self._stall_s:
            self._wanted = min(self._wanted * 2, self._max_count)
        elif self._wanted > self._base_count:
            self._wanted -= 1

    @property
    def needs_ticks(self) -> bool:
        """Whether anything is to be done as time goes by; an idle group costs no wake-up."""
        return bool(self._stall_s) or self._wanted > self._base_count or self.listening < self._wanted

    def orders(self, now_s: float) -> list[tuple[int, Order]]:
        """What full workers must do when no other can be forked: let go of clients that are not logged in.

        Who is told so here counts as told.
        """
        if self._per_connection:
            return [(pid, Order.DROP_OLDEST_LOGIN) for pid in self._to_drop(now_s)]
        if self.listening or len(self._workers) < self._max_count:
            return []
        return [(pid, Order.LISTEN_ANYWAY) for pid, worker in self._workers.items() if worker.has_login]

    def _to_drop(self, now_s: float) -> list[int]:
        """Choose who makes room for spare workers, so that whoever comes next need not wait for a fork."""
        most_spare = max(1, self._max_count // _SPARE_SHARE)
        room = self._max_count - len(self._workers)
        if self.listening + room >= most_spare:
            return []
        if not any(one.is_ready and one.state is State.LISTENING for one in self._workers.values()):
            # Nobody accepts at this moment: one by one we would stay behind.
            self._wanted = max(self._wanted, most_spare)
        lacking = min(self._wanted, most_spare) - self.listening - room
        asked_after_s = now_s - _ANSWER_S
        lacking -= sum(worker.told_at_s > asked_after_s for worker in self._workers.values())
        # Who was told and is still there has accepted a password: he comes last.
        waiting = sorted(
            (worker.told_at_s, worker.full_since_s, pid)
            for pid, worker in self._workers.items()
            if worker.has_login and worker.told_at_s <= asked_after_s
        )
        chosen = [
            pid
            for place, (_, full_since_s, pid) in enumerate(waiting[: max(lacking, 0)])
            if now_s - full_since_s >= (_CROWD_GRACE_S if 2 * place < len(waiting) - 1 else _GRACE_S)
        ]
        for pid in chosen:
            self._workers[pid].told_at_s = now_s
        return chosen
