"""Ports that the service manager has opened, by the protocol of sd_listen_fds(3)."""

from __future__ import annotations

import socket

from tests.harness.ports import free_port
from tests.harness.proxy import HOST
from tests.harness.raw_client import RawClient
from tests.process.conftest import NewArena
from tests.process.look import connects, try_login

# Plays the manager: opens ports, then becomes mailproxy with them as descriptors 3 and on.
MANAGER = """
import os, socket, sys
listeners = [socket.create_server(("127.0.0.1", port)) for port in {ports}]
for number, listener in enumerate(listeners):
    os.dup2(listener.fileno(), 100 + number)
for number in range({count}):
    os.dup2(100 + number, 3 + number)
    os.close(100 + number)
os.environ |= dict(LISTEN_PID=str(os.getpid() + {off}), LISTEN_FDS="{count}", LISTEN_FDNAMES="a:b:c")
os.execv(sys.executable, [sys.executable, "-m", "mailproxy.cli", *sys.argv[1:]])
"""


def test_ports_are_taken_over(new_arena: NewArena) -> None:
    """A port that is ours is used, as it is open; another is closed with a warning."""
    arena = new_arena()
    proxy, other = arena.proxy, free_port()
    proxy.stop()
    ports = [proxy.imap_port, other, proxy.pop3_port]
    proxy.program = ["-c", MANAGER.format(ports=ports, count=3, off=0)]
    proxy.start()
    assert try_login(arena).startswith(b"a1 OK ")
    with RawClient(proxy.pop3_port) as client:
        assert client.greeting.startswith(b"+OK")
    assert not connects(other)
    proxy.wait_log(f"passed a socket of ('{HOST}', {other}), which no listen names; closed")
    old = proxy.replace_master()
    assert try_login(arena).startswith(b"a1 OK ")
    assert old != proxy.pid


def test_sockets_of_another_process_are_left_alone(new_arena: NewArena) -> None:
    """The variables may be inherited from somebody whom they were for."""
    arena = new_arena()
    arena.proxy.stop()
    other = free_port()
    arena.proxy.program = ["-c", MANAGER.format(ports=[other], count=1, off=1)]
    arena.proxy.start()
    assert try_login(arena).startswith(b"a1 OK ")
    assert not arena.proxy.log_contains("The service manager passed")
    with socket.create_connection((HOST, other), 5):
        pass
