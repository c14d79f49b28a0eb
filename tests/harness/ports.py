"""Addresses for servers under test that no other run of the tests on this machine takes."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

# Below the kernel's ephemeral range, so that no outgoing connection ever sits on one.
_FIRST, _LAST = 20000, 32000
_STATE = Path(tempfile.gettempdir()) / f"mailproxy-test-ports.{os.geteuid()}"


def _next(count: int) -> int:
    """Return a number that grows by `count` with each call, over all processes of this user."""
    with _STATE.open("a+") as state:
        fcntl.flock(state, fcntl.LOCK_EX)
        state.seek(0)
        number = int(state.read() or 0)
        state.truncate(0)
        state.write(str(number + count))
        return number


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that is free and was not handed out lately to anybody."""
    for _ in range(_LAST - _FIRST):
        port = _FIRST + _next(1) % (_LAST - _FIRST)
        if is_free(host, port):
            return port
    raise RuntimeError(f"no free port between {_FIRST} and {_LAST} on {host}")


def free_address(*ports: int) -> str:
    """Return a loopback address of its own, on which all these ports are free."""
    for _ in range(250 * 250):
        number = _next(1)
        host = f"127.77.{1 + number // 250 % 250}.{1 + number % 250}"
        if all(is_free(host, port) for port in ports):
            return host
    raise RuntimeError(f"no loopback address with free ports {ports}")
