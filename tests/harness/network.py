"""Network namespaces: places where a test may turn knobs of the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def _back_afterwards() -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open() as ours:
        try:
            yield
        finally:
            _check(_libc.setns(ours.fileno(), _NEWNET))


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Sockets that this thread makes meanwhile are in the network of that process, and stay there."""
    with _back_afterwards(), Path(f"/proc/{pid}/ns/net").open() as its:
        _check(_libc.setns(its.fileno(), _NEWNET))
        yield


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """This thread, and whatever it starts meanwhile, has a new network with nothing but loopback.

    Raises PermissionError where that is not allowed.
    """
    with _back_afterwards():
        _check(_libc.unshare(_NEWNET))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
        yield
