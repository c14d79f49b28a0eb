"""The pre-fork rules, on paper and under arbitrary events."""

from __future__ import annotations

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from mailproxy.base.level import Level
from mailproxy.ipc.status import State, Status
from mailproxy.supervise.group import GroupPolicy
from tests.unit.supervise.paper_group import FULL, LISTENING, LOGINS, Group

SLOWING = (Level.ERROR, "Temporary failure in creating login processes, slowing down for now")
UNSTALLED = (Level.INFO, "Created login processes successfully, unstalling")


def test_it_starts_with_the_base_count() -> None:
    group = Group(3)
    assert group.fork(0) == [1, 2, 3]
    assert group.fork(0) == []
    assert group.policy.listening == 3
    assert not group.policy.needs_ticks


def test_who_takes_a_client_is_replaced_at_once() -> None:
    group = Group(3)
    group.fork(0)
    group.policy.on_status(1, LOGINS, 1)
    assert len(group.fork(1)) == 1
    assert group.policy.listening == 3


def test_a_few_of_many_are_replaced_together() -> None:
    """Each fork costs the master the pages that it writes to next, unless another fork follows."""
    group = Group(32, 100)
    group.fork(0)
    for pid in (1, 2, 3):
        group.policy.on_status(pid, LOGINS, 1)
        assert group.policy.to_spawn(1, is_due=False) == 0
        assert group.policy.to_spawn(1, is_due=True) == pid
    assert group.policy.needs_ticks
    assert group.policy.to_spawn(1, relay_waits=True, is_due=False) == 3
    group.policy.on_status(4, LOGINS, 1)
    assert group.policy.to_spawn(1, is_due=False) == 4


def test_nobody_listening_doubles_what_is_wanted_and_calm_halts_it() -> None:
    group = Group(2, 100)
    group.fork(0)
    for second in range(3):
        for pid in group.policy.pids:
            group.policy.on_status(pid, LOGINS, second)
        group.policy.on_tick(second)
    assert group.policy.to_spawn(3) == 16
    group.fork(3)
    wanted = []
    for _ in range(20):
        group.policy.on_tick(4)
        wanted.append(group.policy._wanted)
    assert wanted[:3] == [15, 14, 13]
    assert wanted[-1] == 2
    assert not group.policy.needs_ticks


def test_the_maximum_holds_whatever_is_wanted() -> None:
    group = Group(4, 6)
    group.fork(0)
    for second in range(5):
        for pid in group.policy.pids:
            group.policy.on_status(pid, FULL, second)
        group.policy.on_tick(second)
        group.fork(second)
    assert len(group.policy.pids) == 6


def test_deaths_before_ready_slow_down_by_doubling_up_to_a_minute() -> None:
    """F02."""
    group = Group(4)
    for pid in group.fork(0, ready=False):
        group.policy.on_died(pid, clean=False, now_s=0)
    now_s, waits = 0.0, []
    for _ in range(9):
        start = now_s
        while not group.policy.to_spawn(now_s):
            assert group.policy.needs_ticks
            now_s += 0.5
        waits.append(now_s - start)
        born = group.fork(now_s, ready=False)
        assert len(born) == 1
        assert group.policy.to_spawn(now_s + 500) == 0  # one at a time, until it is proven
        group.policy.on_died(born[0], clean=False, now_s=now_s)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert group.log == [SLOWING]


def test_one_that_is_ready_ends_the_slow_down() -> None:
    """F02."""
    group = Group(4)
    for pid in group.fork(0, ready=False):
        group.policy.on_died(pid, clean=False, now_s=0)
    (pid,) = group.fork(1, ready=False)
    group.policy.on_status(pid, LISTENING, 1)
    assert group.log == [SLOWING, UNSTALLED]
    assert len(group.fork(1)) == 3
    assert not group.policy.needs_ticks


def test_a_failure_right_after_recovery_slows_down_again() -> None:
    """F02: the delay of the last failure must not hide a new one."""
    group = Group(4)
    first, second, *_ = group.fork(0, ready=False)
    group.policy.on_died(first, clean=False, now_s=0)
    group.policy.on_status(second, LISTENING, 0)
    group.policy.on_fork_failed(0.5)
    assert group.policy.to_spawn(0.5) == 0
    assert group.log == [SLOWING, UNSTALLED, SLOWING]


def test_a_refused_fork_slows_down_too() -> None:
    """F14."""
    group = Group(2)
    group.policy.on_fork_failed(5)
    assert group.policy.to_spawn(5.9) == 0
    assert group.policy.to_spawn(6) == 1
    group.fork(6)
    assert group.policy.to_spawn(6) == 1


def test_workers_that_die_as_soon_as_they_are_ready_are_no_storm() -> None:
    """F02: some are forked again at once, then ever more slowly, until one lives on."""
    group = Group(2)
    forks = 0
    now_s = 0.0
    while now_s < 300:
        for pid in group.fork(now_s):
            forks += 1
            group.policy.on_died(pid, clean=False, now_s=now_s + 0.1)
        now_s += 0.5
        group.policy.on_tick(now_s)
    assert forks < 25
    assert group.log == [SLOWING]
    while not (born := group.fork(now_s)):
        now_s += 0.5
    group.policy.on_tick(now_s + 0.5)
    assert group.log == [SLOWING]
    group.policy.on_tick(now_s + 1)
    assert group.log == [SLOWING, UNSTALLED]
    assert len(born) + len(group.fork(now_s + 1)) == 2
    assert not group.policy.needs_ticks


def test_a_few_young_workers_may_be_killed() -> None:
    """F01: who kills processes by hand is not punished, nor after hours for what was long ago."""
    group = Group(2)
    for hour in range(5):
        now_s = hour * 3600.0
        for pid in group.fork(now_s) if hour == 0 else list(group.policy.pids):
            group.policy.on_died(pid, clean=False, now_s=now_s + 0.5 if hour == 0 else now_s)
        assert len(group.fork(now_s + 0.5)) == 2
        for pid in list(group.policy.pids)[:1]:
            group.policy.on_died(pid, clean=False, now_s=now_s + 1)
        assert len(group.fork(now_s + 1)) == 1
    assert group.log == []


def test_who_crashes_the_process_of_his_connection_slows_down_nobody() -> None:
    """F01: a worker that has taken the one client it gets is no start that failed, however young it dies."""
    group = Group(2, 100)
    for tenth in range(200):
        now_s = tenth / 10
        for pid in group.fork(now_s)[:1]:
            group.policy.on_status(pid, LOGINS, now_s + 0.01)
            group.policy.on_died(pid, clean=False, now_s=now_s + 0.05)
    assert group.pids > 200
    assert group.log == []


def test_a_crash_resets_what_is_wanted() -> None:
    group = Group(2, 100)
    group.fork(0)
    for pid in (1, 2):
        group.policy.on_status(pid, LOGINS, 0)
    group.policy.on_tick(1)
    group.policy.on_died(1, clean=False, now_s=1)
    assert len(group.fork(1)) == 2


def test_news_of_strangers_changes_nothing() -> None:
    group = Group(1)
    group.fork(0)
    group.policy.on_status(99, FULL, 0)
    group.policy.on_died(99, clean=False, now_s=0)
    assert (group.policy.pids, group.policy.listening) == ([1], 1)


class GroupMachine(RuleBasedStateMachine):
    """Anything may happen to children; the census stays right and service always comes back."""

    workers = Bundle("workers")
    newborn = Bundle("newborn")

    def __init__(self) -> None:
        super().__init__()
        self.group = Group(3, 8, per_connection=True)
        self.now_s = 0.0
        self.states: dict[int, State] = {}
        self.unproven: set[int] = set()

    @rule(target=newborn)
    def adjust(self) -> int:
        """Fork what is asked for, as the master does after each event; the last one is drawn from."""
        born = self.group.fork(self.now_s, ready=False)
        for pid in born:
            self.states[pid] = State.LISTENING
            self.unproven.add(pid)
        return born[-1] if born else 0

    @rule(seconds=strategies.floats(0.1, 70))
    def tick(self, seconds: float) -> None:
        self.now_s += seconds
        self.group.policy.on_tick(self.now_s)

    @precondition(lambda self: self.states)
    @rule(
        index=strategies.integers(0, 7),
        state=strategies.sampled_from([State.LISTENING, State.FULL_WITH_LOGINS, State.FULL]),
    )
    def report(self, index: int, state: State) -> None:
        pid = list(self.states)[index % len(self.states)]
        self.states[pid] = state
        self.unproven.discard(pid)
        self.group.policy.on_status(pid, Status(state, 0, 0), self.now_s)

    @precondition(lambda self: self.states)
    @rule(index=strategies.integers(0, 7), clean=strategies.booleans())
    def die(self, index: int, clean: bool) -> None:
        pid = list(self.states)[index % len(self.states)]
        del self.states[pid]
        self.unproven.discard(pid)
        self.group.policy.on_died(pid, clean, self.now_s)

    @rule(pid=consumes(newborn))
    def die_at_birth(self, pid: int) -> None:
        if pid in self.states:
            del self.states[pid]
            self.unproven.discard(pid)
            self.group.policy.on_died(pid, False, self.now_s)

    @rule()
    def fork_fails(self) -> None:
        if self.group.policy.to_spawn(self.now_s):
            self.group.policy.on_fork_failed(self.now_s)
            assert self.group.policy.to_spawn(self.now_s) == 0

    @invariant()
    def census_is_right(self) -> None:
        policy = self.group.policy
        assert set(policy.pids) == set(self.states)
        assert policy.listening == sum(state is State.LISTENING for state in self.states.values())
        assert 0 <= policy.to_spawn(self.now_s) <= max(0, 8 - len(self.states))
        assert len(self.states) <= 8

    @invariant()
    def slowed_down_means_one_at_a_time(self) -> None:
        policy = self.group.policy
        if policy._stall_s:
            assert policy.to_spawn(self.now_s) <= 1
            if self.unproven or self.now_s < policy._stalled_until_s:
                assert policy.to_spawn(self.now_s) == 0

    @invariant()
    def orders_go_to_the_living_only(self) -> None:
        for pid, _order in self.group.policy.orders(self.now_s):
            assert self.states[pid] is State.FULL_WITH_LOGINS

    def teardown(self) -> None:
        """From any state: when children live again and clients leave, the base count listens before long."""
        policy = self.group.policy
        for pid in list(self.states):
            del self.states[pid]
            policy.on_died(pid, True, self.now_s)
        for _ in range(70):
            self.now_s += 1
            policy.on_tick(self.now_s)
            self.group.fork(self.now_s)
        assert policy.listening >= 3
        assert not policy._stall_s
        assert not policy.needs_ticks


GroupMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestGroupMachine = GroupMachine.TestCase


def test_a_group_serves_when_its_first_workers_are_ready() -> None:
    """F12: sessions that come over from another version find all of them."""
    policy = GroupPolicy(2, 10, True, lambda _level, _text: None)
    assert policy.to_spawn(0.0) == 2
    for pid in (1, 2):
        policy.on_spawned(pid)
        assert not policy.is_serving
        policy.on_status(pid, Status(State.LISTENING, 0, 0), 0.0)
    assert policy.is_serving


def test_a_session_that_comes_over_needs_no_worker_more_than_wanted() -> None:
    """F12: it is looked for often, and each look must not fork another."""
    group = Group(32, 100)
    group.fork(0)
    assert group.policy.to_spawn(1, relay_waits=True, is_due=False) == 0


def test_a_session_that_comes_over_finds_a_worker_beyond_the_limit() -> None:
    """F12: but only one at a time, and only while it waits."""
    policy = GroupPolicy(1, 1, True, lambda _level, _text: None)
    policy.on_spawned(1)
    policy.on_status(1, Status(State.FULL, 0, 1), 0.0)
    assert policy.to_spawn(0.0) == 0
    assert policy.to_spawn(0.0, relay_waits=True) == 1
    policy.on_spawned(2)
    assert policy.to_spawn(0.0, relay_waits=True) == 0
