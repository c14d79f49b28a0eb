"""One epoll loop with timers, the same in master, auth and login workers.

A callback is told the events of its descriptor. All callbacks of one batch run before the next wait; then
the *flushers* run, so that whatever a batch queued leaves in one write. Level-triggered.
"""

from __future__ import annotations

import heapq
import math
import select
import time
from collections.abc import Callable
from typing import Protocol

DATA = select.EPOLLIN
END = select.EPOLLRDHUP
"""The peer has sent his FIN; what came before it may still wait to be read."""
READ = DATA | END
WRITE = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR

_BATCH = 256
# Cancelled timers stay in the heap until they are this many and more than half of it: a login's deadline is
# minutes away and nearly always cancelled within milliseconds.
_STALE_TIMERS = 256

# Who has nothing but a deadline is looked for in all of them, so not more often than this.
_DEADLINE_STEP_S = 0.1

Callback = Callable[[int], None]


class Waiting(Protocol):
    """Who has a deadline."""

    def on_deadline(self) -> None:
        """It has come; another may be set."""


class Timer:
    """A call that has yet to be made; `cancel` may be called at any time."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call


class Reactor:
    """Owns the epoll descriptor; the registered descriptors belong to those who registered them.

    One that is made before a fork, for the child, is `opened` there: an epoll set must not be shared.
    """

    def __init__(self, *, opened: bool = True) -> None:
        self._epoll: select.epoll
        self._callbacks: dict[int, Callback] = {}
        self._forgotten: set[int] = set()
        self._timers: list[tuple[float, int, Timer]] = []
        """A heap; the number keeps timers of one time in order. Tuples are compared without Python code."""
        self._armed = 0
        self._stale_timers = 0
        self._deadlines: dict[Waiting, float] = {}
        self._look_at = math.inf
        """When deadlines are looked at next."""
        self._pending_flushes: list[Callable[[], None]] = []
        self._running = False
        self.now = 0.0
        """Monotonic seconds, taken once a batch."""
        if opened:
            self.open()

    def open(self) -> None:
        """Make the epoll descriptor, and take the time."""
        self._epoll = select.epoll()
        self.now = time.monotonic()

    def fileno(self) -> int:
        """The epoll descriptor."""
        return self._epoll.fileno()

    def add(self, fd: int, events: int, callback: Callback) -> None:
        """Watch a descriptor that is not watched yet."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def change(self, fd: int, events: int) -> None:
        """Watch for other events; hang-up and error are always told."""
        self._epoll.modify(fd, events)

    def replace(self, fd: int, callback: Callback) -> None:
        """Tell another callback from now on; needs no system call."""
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Stop watching. Call it before the descriptor is closed."""
        self._epoll.unregister(fd)
        del self._callbacks[fd]
        self._forgotten.add(fd)

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor that is closed right after: the kernel takes it off the epoll set.

        Only for a descriptor that no other process and no duplicate holds.
        """
        del self._callbacks[fd]
        # Events of this batch that were meant for the old owner must not reach a new one with its number.
        self._forgotten.add(fd)

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call once at monotonic time `when`."""
        timer = Timer(when, call)
        self._armed += 1
        heapq.heappush(self._timers, (when, self._armed, timer))
        return timer

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once after `delay_s`, counted from the time of this batch."""
        return self.call_at(self.now + delay_s, call)

    def cancel(self, timer: Timer) -> None:
        """Make sure that the timer is not called; harmless when it was."""
        if timer.call is None:
            return
        timer.call = None
        self._stale_timers += 1
        if self._stale_timers > _STALE_TIMERS and self._stale_timers * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if entry[2].call is not None]
            heapq.heapify(self._timers)
            self._stale_timers = 0

    def set_deadline(self, who: Waiting, when: float) -> None:
        """Call `who.on_deadline` at monotonic time `when`, up to 0.1 s late, in place of one set before.

        For what is set often and hardly ever comes, like the deadlines of a login: one timer serves them all.
        """
        self._deadlines[who] = when
        if when < self._look_at:
            self._look_at = when
            self.call_at(when, self._look_at_deadlines)

    def drop_deadline(self, who: Waiting) -> None:
        """Make sure that `who` is not called; harmless when he has no deadline."""
        self._deadlines.pop(who, None)

    def _look_at_deadlines(self) -> None:
        if self.now < self._look_at:
            return  # An earlier timer has looked in our place.
        self._look_at = math.inf
        for who in [who for who, when in self._deadlines.items() if when <= self.now]:
            # Whoever was called before may have dropped him, or given him more time.
            if self._deadlines.get(who, math.inf) <= self.now:
                del self._deadlines[who]
                who.on_deadline()
        if self._deadlines:
            when = max(min(self._deadlines.values()), self.now + _DEADLINE_STEP_S)
            if when < self._look_at:
                self._look_at = when
                self.call_at(when, self._look_at_deadlines)

    def flush_soon(self, flush: Callable[[], None]) -> None:
        """Call once at the end of this batch, before the next wait."""
        self._pending_flushes.append(flush)

    def run(self) -> None:
        """Serve until `stop`."""
        self._running = True
        while self._running:
            self.run_once()

    def stop(self) -> None:
        """Leave `run` after the present batch."""
        self._running = False

    def run_once(self, limit_s: float | None = None) -> None:
        """Wait for one batch of events, at most `limit_s`, and handle it."""
        wait_s = limit_s
        timers = self._timers
        if self._pending_flushes:
            wait_s = 0.0  # Asked for outside a batch, before the loop began.
        elif timers:
            if timers[0][2].call is None:
                self._drop_stale_timers()
            if timers:
                wait_s = timers[0][0] - time.monotonic()
                if wait_s < 0.0:
                    wait_s = 0.0
                elif limit_s is not None and limit_s < wait_s:
                    wait_s = limit_s
        events = self._epoll.poll(wait_s, _BATCH)
        self.now = now = time.monotonic()
        callbacks = self._callbacks
        forgotten = self._forgotten
        forgotten.clear()
        for fd, event in events:
            if fd not in forgotten:
                callbacks[fd](event)
        if self._timers and self._timers[0][0] <= now:
            self._run_timers()
        while self._pending_flushes:
            pending, self._pending_flushes = self._pending_flushes, []
            for flush in pending:
                flush()

    def _drop_stale_timers(self) -> None:
        """Forget those in front that were cancelled: nobody is to be woken for them."""
        timers = self._timers
        while timers and timers[0][2].call is None:
            heapq.heappop(timers)
            self._stale_timers -= 1

    def _run_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.now:
            timer = heapq.heappop(timers)[2]
            call, timer.call = timer.call, None
            if call is None:
                self._stale_timers -= 1
            else:
                call()
            timers = self._timers

    def close(self) -> None:
        """Close the epoll descriptor; a child does so with what it inherited."""
        self._epoll.close()
