"""Threads for what may block: database lookups and slow hashes.

Work goes in from the one thread that serves clients, and results come back to it: it watches `fileno` and
calls `collect`. The queue is bounded, so that a slow database cannot make the process grow.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

QUEUE_LIMIT = 1024
Result = TypeVar("Result")


class Pool:
    """Owns its threads, started as they are needed, and its event descriptor.

    `work` must not raise: what can fail returns its failure as a value.
    """

    def __init__(self, threads_limit: int, queue_limit: int = QUEUE_LIMIT) -> None:
        self._threads_limit = max(1, threads_limit)
        self._queue_limit = queue_limit
        self._threads = 0
        self._open_jobs = 0
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]]] = SimpleQueue()
        self._results: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._announced = False
        self._event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Readable when `collect` has something to do."""
        return self._event_fd

    def submit(self, work: Callable[[], Result], done: Callable[[Result], None]) -> bool:
        """Run `work` in a thread and `done` with its result in `collect`; False if the queue is full."""
        if self._open_jobs >= self._threads_limit + self._queue_limit:
            return False
        if self._open_jobs >= self._threads and not self._grow():
            return False
        self._open_jobs += 1
        self._jobs.put((work, done))
        return True

    def _grow(self) -> bool:
        """Start one more thread unless there are enough; False if there is none at all to do the work."""
        if self._threads < self._threads_limit:
            # A daemon: a lookup that hangs must not keep the process from leaving.
            name = f"lookup-{self._threads + 1}"
            try:
                threading.Thread(target=self._serve, name=name, daemon=True).start()
                self._threads += 1
            except RuntimeError:
                # The memory limit of the process; those that run have to do.
                self._threads_limit = max(1, self._threads)
        return self._threads > 0

    def collect(self) -> None:
        """Call `done` for everything that is finished."""
        try:
            os.eventfd_read(self._event_fd)
        except BlockingIOError:
            return
        # First this, or a result that comes after the last look would stay unannounced.
        self._announced = False
        while self._results:
            done, result = self._results.popleft()
            self._open_jobs -= 1
            done(result)

    def close(self) -> None:
        """Close the descriptor unless a thread may still write to it; only at the end of the process."""
        # A thread announces its result after handing it over, so even one without a job may be about to.
        if self._threads == 0:
            os.close(self._event_fd)

    def _serve(self) -> None:
        while True:
            work, done = self._jobs.get()
            self._results.append((done, work()))
            # One word for all that has finished since the last `collect`: each would let go of the GIL.
            if not self._announced:
                self._announced = True
                os.eventfd_write(self._event_fd, 1)
