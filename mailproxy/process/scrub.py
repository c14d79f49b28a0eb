"""Freed memory of a worker that serves many, overwritten soon after a login: passwords must not outlive it.

Python does not wipe what it frees, and whoever captures a worker would find the passwords of those who have
logged in before. The C library wipes at `free` when told so (mallopt(3), M_PERTURB), all but the few chunks
of each size that it keeps for the next who asks. Python's own allocator, which serves what is small, cannot.
So a sweep takes from both what is free, overwrites it, and gives it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from itertools import repeat
from resource import RUSAGE_SELF, getrusage

from mailproxy.net.reactor import Reactor

_DELAY_S = 1.0
# Where much is free a sweep takes longer, and comes less often: it never costs more than 1/300 of a core.
_REST = 300
_EMPTY_BYTES = b"".__sizeof__()

# Objects/obmalloc.c: a pool of 16 KiB, behind its header, serves one size, a multiple of 16 up to 512 bytes.
# No pool is begun while one of its size has room, nor a piece of new memory while there is a pool left.
_POOL_BYTES = 16384
_HEADER_BYTES = 48
_STEP_BYTES = 16
_SMALL_BYTES = 512
# Of free pools blocks are taken that leave only 16 bytes at a pool's end; of 512 bytes they would leave 464.
_FILL_BYTES = 480
# The most that one sweep takes of each size, and of pools that are free as a whole.
_LIMIT_BYTES = 64 << 20
# A worker begins with less than this in free pools.
_FIRST_BYTES = 4 << 20
# Two arenas: no other new memory than that comes in one piece of so many pools. The end of an arena that was
# never used does, and behind it others may be free that were.
_STRIDE_POOLS = 128
_NEW_FAULTS = _STRIDE_POOLS * _POOL_BYTES // 4096 * 9 // 10

# malloc/malloc.c: so many chunks of each size are kept, of sizes 24, 40 … 1032 bytes.
_PERTURB = -6
_KEPT_SIZES = [size_bytes for size_bytes in range(24, 1033, 16) for _ in range(7)]


class Scrub:
    """The one of this process: sweeps a second after a login, and once more; who is idle is not woken.

    What was still in use at the first sweep, a buffer or an answer half read, is free by the second.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._delay_s = _DELAY_S
        self._sweeps_due = 0
        self.is_idle = False
        """Whether the next login has to arm it; never without `open`."""

    def open(self) -> None:
        """Begin, and let the C library wipe what is freed from now on, if it is one that can.

        What is free now is shared with the master, and a sweep makes a copy of it, some 3 MiB. The first one
        is now, so that no login enlarges the process.
        """
        self.is_idle = True
        if hasattr(_libc, "mallopt"):
            _libc.mallopt(_PERTURB, 1)
        sweep(is_first=True)

    def arm(self) -> None:
        """Sweep soon."""
        self.is_idle = False
        if not self._sweeps_due:
            self._reactor.call_later(self._delay_s, self._on_time)
        self._sweeps_due = 2

    def _on_time(self) -> None:
        self.is_idle = True
        self._sweeps_due -= 1
        began_s = time.process_time()
        # What only the collector can free would be freed behind the sweep's back, by what it allocates.
        gc.collect()
        sweep()
        self._delay_s = max(_DELAY_S, (time.process_time() - began_s) * _REST)
        if self._sweeps_due:
            self._reactor.call_later(self._delay_s, self._on_time)


def sweep(is_first: bool = False) -> None:
    """Overwrite what is free, for some milliseconds."""
    # At the limit of the process's memory there is nothing left that is free.
    with contextlib.suppress(MemoryError):
        for size_bytes in range(3 * _STEP_BYTES, _SMALL_BYTES + 1, _STEP_BYTES):
            _fill_used_pools(size_bytes)
        _fill_free_pools(is_first)
        _fill_kept_chunks()


def _take(size_bytes: int, count: int) -> list[bytes]:
    return list(map(bytes, repeat(size_bytes - _EMPTY_BYTES, count)))


def _fill_used_pools(size_bytes: int) -> None:
    """Take blocks until a pool was ours from its first to its last: then no other has room.

    In between one of another pool may come, where the interpreter has just freed something of its own.
    """
    count = (_POOL_BYTES - _HEADER_BYTES) // size_bytes
    held: list[bytes] = []
    while len(held) * size_bytes < _LIMIT_BYTES:
        held += _take(size_bytes, count)
        place = id(held[-1]) % _POOL_BYTES
        held += _take(size_bytes, count - 1 - (place - _HEADER_BYTES) // size_bytes)
        if id(held[-count]) // _POOL_BYTES == id(held[-1]) // _POOL_BYTES:
            return


def _fill_free_pools(is_first: bool) -> None:
    """Take whole pools until they are of new memory, which the kernel has to give first.

    At the first sweep it has to give all, copies of the master's: then so many as there may be.
    """
    count = (_POOL_BYTES - _HEADER_BYTES) // _FILL_BYTES * _STRIDE_POOLS
    limit_bytes = _FIRST_BYTES if is_first else _LIMIT_BYTES
    held: list[bytes] = []
    for _ in range(limit_bytes // (_STRIDE_POOLS * _POOL_BYTES)):
        faults = getrusage(RUSAGE_SELF).ru_minflt
        held += _take(_FILL_BYTES, count)
        if not is_first and getrusage(RUSAGE_SELF).ru_minflt - faults >= _NEW_FAULTS:
            return


_libc = ctypes.CDLL(None)
_libc.malloc.argtypes, _libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
_libc.free.argtypes, _libc.free.restype = [ctypes.c_void_p], None


def _fill_kept_chunks() -> None:
    malloc, memset, free = _libc.malloc, ctypes.memset, _libc.free
    held = [(malloc(size_bytes), size_bytes) for size_bytes in _KEPT_SIZES]
    for place, size_bytes in held:
        if place:
            memset(place, 0, size_bytes)
    for place, _ in held:
        free(place)
