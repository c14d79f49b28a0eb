"""A group of workers on paper: the policy, and children that do what a test says."""

from __future__ import annotations

from mailproxy.base.level import Level
from mailproxy.ipc.status import State, Status
from mailproxy.supervise.group import GroupPolicy

LISTENING, LOGINS, FULL = (
    Status(state, 0, 0) for state in (State.LISTENING, State.FULL_WITH_LOGINS, State.FULL)
)


class Group:
    """A policy with the children that it asked for."""

    def __init__(self, base: int = 3, most: int = 10, per_connection: bool = True) -> None:
        self.log: list[tuple[Level, str]] = []
        self.policy = GroupPolicy(
            base, most, per_connection, lambda level, text: self.log.append((level, text))
        )
        self.pids = 0

    def fork(self, now_s: float, ready: bool = True) -> list[int]:
        """Fork what is asked for now."""
        born = []
        for _ in range(self.policy.to_spawn(now_s)):
            self.pids += 1
            born.append(self.pids)
            self.policy.on_spawned(self.pids)
        if ready:
            for pid in born:
                self.policy.on_status(pid, LISTENING, now_s)
        return born
