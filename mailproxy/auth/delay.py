"""The failure delay: refusals wait for a beat of two seconds that all of them share.

Nobody else waits, and an answer that is not wanted any more is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Request = TypeVar("Request")


class FailureDelay(Generic[Request]):
    """Holds refusals until the beat, which is counted from `started_at` (monotonic seconds)."""

    def __init__(
        self,
        started_at: float,
        tick_s: float,
        call_at: Callable[[float, Callable[[], None]], object],
        deliver: Callable[[Request, bytes], None],
    ) -> None:
        self._started_at = started_at
        self._tick_s = tick_s
        self._call_at = call_at
        self._deliver = deliver
        self._held: dict[Request, bytes] = {}
        self._armed = False

    def hold(self, request: Request, line: bytes, now: float) -> None:
        """Keep an answer back until the next beat."""
        self._held[request] = line
        if not self._armed:
            self._armed = True
            beats = (now - self._started_at) // self._tick_s + 1
            self._call_at(self._started_at + beats * self._tick_s, self._beat)

    def cancel(self, request: Request) -> None:
        """Drop the answer; harmless when there is none."""
        self._held.pop(request, None)

    def flush(self) -> None:
        """Deliver everything now, as at the end of the process."""
        held, self._held = self._held, {}
        for request, line in held.items():
            self._deliver(request, line)

    def __len__(self) -> int:
        return len(self._held)

    def _beat(self) -> None:
        self._armed = False
        self.flush()
