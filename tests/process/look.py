"""What tests look for in a running tree."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time

import psutil

from tests.harness.arena import Arena
from tests.harness.proxy import CHECKOUT, HOST, greeting
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until


def pids(arena: Arena, role: str) -> set[int]:
    """Return the living processes of a role."""
    return {process.pid for process in arena.proxy.children(role)}


def guest(arena: Arena, protocol: str = "imap") -> RawClient:
    """Log in as somebody whose backend echoes."""
    return arena.login(protocol, b"guest", arena.GUEST)


def echoes(client: RawClient) -> bool:
    """Tell whether a session still carries bytes both ways."""
    client.send(b"still there?")
    return client.take(12) == b"still there?"


def try_login(arena: Arena) -> bytes:
    """Log in once over IMAP and out again; returns the reply, empty when the connection was lost."""
    try:
        with RawClient(arena.proxy.imap_port) as client:
            return client.ask(b"a1 LOGIN guest %s\r\n" % arena.GUEST)
    except OSError:
        return b""


def wait_service(arena: Arena, timeout_s: float = 30.0) -> float:
    """Wait until a fresh login works; returns how long that took."""
    start = time.monotonic()
    wait_until("a fresh login works", lambda: try_login(arena).startswith(b"a1 OK"), timeout_s)
    return time.monotonic() - start


def connects(port: int) -> bool:
    """Tell whether anybody listens."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 2):
        return True
    return False


def greets(port: int) -> bool:
    """Tell whether anybody serves."""
    return bool(greeting(port))


def cpu_s(processes: list[psutil.Process]) -> float:
    """Return the CPU time that these have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def carriers(arena: Arena, clients: list[RawClient]) -> list[int]:
    """Return the pids of the processes that carry these sessions."""
    of_peer: dict[object, int] = {}
    for process in arena.proxy.children("imap-login"):
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            of_peer |= {c.raddr: process.pid for c in process.net_connections("tcp4") if c.raddr}
    return [of_peer[client.socket.getsockname()] for client in clients]


def run_ctl(arena: Arena, *words: str, status: int = 0) -> str:
    """Run a command as a user types it; returns what it printed, on both outputs."""
    done = subprocess.run(
        [sys.executable, "-m", "mailproxy.ctl", "-c", str(arena.proxy.configuration), *words],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout
