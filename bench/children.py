"""Processes of the benchmark's own, which end with it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import traceback
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


class Children:
    """Forked processes; `close` kills and buries them."""

    def __init__(self) -> None:
        self._pids: list[int] = []

    def fork(self, body: Callable[[], None]) -> None:
        """Run `body` in a child, which dies with its parent whatever happens."""
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._pids.append(pid)
            return
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                body()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)

    def close(self) -> None:
        """End them all."""
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            os.waitpid(pid, 0)
        self._pids.clear()


def raise_file_limit() -> int:
    """Allow as many descriptors as there can be, and return the number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
