"""Which children still turn their loops: whoever is asked and says nothing for too long hangs.

A master that was late itself (a machine that slept, a stopped process) asks everybody anew before it judges.
"""

from __future__ import annotations

from collections.abc import Mapping


class Heartbeat:
    """What was asked of whom. All times are monotonic seconds.

    With a beat every 8 s and a limit of 15 s a child is found 16 to 24 s after it began to hang.
    """

    def __init__(self, beat_s: float, limit_s: float) -> None:
        self._beat_s = beat_s
        self._limit_s = limit_s
        self._asked_at_s: dict[int, float] = {}
        self._last_beat_s = float("-inf")

    def beat(self, now_s: float, heard_at_s: Mapping[int, float]) -> tuple[list[int], list[int]]:
        """Judge those who are given, with when each was last heard; returns whom to ask now, and who hangs.

        Who is not given any more is forgotten.
        """
        was_late = now_s - self._last_beat_s > self._beat_s * 1.5
        self._last_beat_s = now_s
        before, self._asked_at_s = self._asked_at_s, {}
        to_ask: list[int] = []
        hung: list[int] = []
        for pid, heard_s in heard_at_s.items():
            asked_s = before.get(pid)
            if asked_s is None or was_late or heard_s >= asked_s:
                to_ask.append(pid)
                self._asked_at_s[pid] = now_s
            elif now_s - asked_s >= self._limit_s:
                hung.append(pid)
            else:
                self._asked_at_s[pid] = asked_s
        return to_ask, hung
