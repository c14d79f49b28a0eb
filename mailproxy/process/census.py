"""How many children there are and what they carry, in words for an administrator."""

from __future__ import annotations

from collections.abc import Iterable

from mailproxy.ipc.status import State
from mailproxy.process.spawner import Child


def in_words(children: Iterable[Child], current: object) -> list[str]:
    """Return a line for each role, those of earlier generations apart.

    Counts are those of each child's last report: exact for a process per connection, else some seconds old
    unless it was asked.
    """
    roles: dict[tuple[bool, str], list[Child]] = {}
    for child in children:
        roles.setdefault((child.owner is not current, child.role), []).append(child)
    return [_line(role, some, is_old) for (is_old, role), some in sorted(roles.items())]


def _line(role: str, children: list[Child], is_old: bool) -> str:
    name = f"{role}, before the last reload" if is_old else role
    parts = [f"{name}: {_count(len(children), 'process', 'processes')}"]
    if children[0].kind == "login":
        accepting = sum(child.status.state is State.LISTENING for child in children)
        if not is_old:
            parts.append(f"{accepting} accepting")
        parts.append(_count(sum(child.status.sessions for child in children), "login", "logins"))
        parts.append(_count(sum(child.status.relays for child in children), "session", "sessions"))
    starting = sum(not child.is_ready for child in children)
    if starting:
        parts.append(f"{starting} starting")
    return ", ".join(parts)


def total(children: Iterable[Child]) -> str:
    """Return it all in a few words."""
    workers = [child for child in children if child.kind == "login"]
    logins = sum(child.status.sessions for child in workers)
    sessions = sum(child.status.relays for child in workers)
    return f"{_count(sessions, 'session', 'sessions')}, {_count(logins, 'login', 'logins')} in progress"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
