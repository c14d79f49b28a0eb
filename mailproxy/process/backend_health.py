"""Backends that have been failing for so long that a login there fails at once, as far as this worker knows.

One login a second is still let through, to see whether the backend is back.
"""

from __future__ import annotations

_PROBE_EVERY_S = 1.0
# Nobody has tried for so long: what was known is out of date.
_FORGOTTEN_S = 10.0
# Hosts come from databases; one that names a new host for each login must not fill the memory.
_LIMIT_HOSTS = 10_000

Place = tuple[str, int]


class _Times:
    """When a backend failed first and last, and when a login was let through to see."""

    __slots__ = ("first_s", "last_s", "probed_s")

    def __init__(self, now_s: float) -> None:
        self.first_s = self.last_s = self.probed_s = now_s


class BackendHealth:
    """Remembers only places that fail. Times are monotonic seconds."""

    def __init__(self, after_s: float) -> None:
        """Take the setting `proxy_host_immediate_failure_after`; 0 is never."""
        self._after_s = after_s
        self.failing: dict[Place, _Times] = {}
        """Empty nearly always: then nobody needs to ask the rest, or to tell of an answer."""

    def failed(self, place: Place, now_s: float) -> None:
        """Note that nothing came from a backend but an error, or nothing at all in time."""
        times = self.failing.get(place)
        if times is not None and now_s - times.last_s <= _FORGOTTEN_S:
            times.last_s = now_s
            return
        if len(self.failing) >= _LIMIT_HOSTS:
            self.failing.clear()
        self.failing[place] = _Times(now_s)

    def answered(self, place: Place) -> None:
        """Note that a backend has spoken."""
        self.failing.pop(place, None)

    def failing_s(self, place: Place, now_s: float, after_s: float | None = None) -> float:
        """Return for how long a backend has been failing, 0 if this login shall try it.

        `after_s` is what the row says in place of the setting.
        """
        times = self.failing.get(place)
        if times is None or now_s - times.last_s > _FORGOTTEN_S:
            return 0.0
        after_s = self._after_s if after_s is None else after_s
        if not after_s or times.last_s - times.first_s < after_s:
            return 0.0
        if now_s - times.probed_s >= _PROBE_EVERY_S:
            times.probed_s = now_s
            return 0.0
        return now_s - times.first_s
