"""What an odd worker does to the master, and what a good one needs that is outside its jail."""

from __future__ import annotations

import ctypes
import os
import re
import secrets

import pytest

from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import echoes, guest, try_login
from tests.process.test_certificate_files import TlsArena

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root's rights there is no jail")

# Says what a process looks for when it is no longer root; auth has another role in the log. A client's word
# makes the worker's own code fail.
WATCHED = """\
import os, sys
from mailproxy import cli
from mailproxy.session.session import Session
def told(event, arguments):
    if event in ("import", "open", "ctypes.dlopen", "socket.getaddrinfo") and os.geteuid():
        os.write(2, f"late {event} of {arguments[0]}\\n".encode())
take = Session.on_client_data
def fail(self, data, now):
    if b"provoked" in data:
        raise KeyError(data)
    take(self, data, now)
Session.on_client_data = fail
sys.addaudithook(told)
sys.exit(cli.main())
"""
ODD_LINES = (
    b"a LOGIN {4+}\r\nj\xf6hn {3+}\r\n\xff\xfex\r\n",
    b'a LOGIN "j\xf6hn" x\r\n',
    b"a AUTHENTICATE CRAM-MD5\r\nAAAA\r\n",
    b"a AUTHENTICATE PLAIN AGpvaG4Aw7x4\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
    b"a LOGIN nowhere x\r\n",
    b"A" * 9000,
)


@pytest.mark.parametrize("mode", list(MODES))
def test_nothing_is_loaded_in_the_jail(mode: str) -> None:
    """V04: not for a client, TLS, 8-bit names, SASL, nonsense, a refused or silent end, a fault of ours."""
    arena = TlsArena("auth_debug = no", MODES[mode], "login_processes_count = 2", "verbose_proctitle = yes")
    arena.proxy.program = ["-c", WATCHED]
    with arena:
        arena.add("nowhere", None, 1, 1)
        for line in ODD_LINES:
            with RawClient(arena.proxy.imap_port) as client:
                assert client.ask(line)
        with RawClient(arena.proxy.imap_port) as client:
            assert client.ask(b"a provoked fault\r\n") == b""
        with arena.connect() as client_tls:
            client_tls.sendall(b"a LOGIN guest %s\r\n" % arena.GUEST)
            assert b"a OK " in client_tls.recv(4096)
        with RawClient(arena.port, greet=False) as client:
            client.send(b"no TLS at all\r\n")
            client.rest()
        with guest(arena) as session, guest(arena, "pop3") as pop3:
            assert echoes(session)
            assert echoes(pop3)
        arena.proxy.kill("auth")
        wait_until("auth is back", lambda: try_login(arena).startswith(b"a1 OK "))
        arena.proxy.sighup()
        assert arena.proxy.stop() == 0
        text = arena.proxy.log_text()
        arena.proxy.log.write_text(text.replace("BUG:", "(expected)"))
        assert [line for line in text.splitlines() if "-login: late " in line] == []
        assert "-login: BUG: KeyError in on_client:" in text


def test_the_master_takes_any_packet_from_a_worker(new_arena: NewArena) -> None:
    """V14: ten thousand random ones do no harm; the log stays readable."""
    arena = new_arena("login_processes_count = 2")
    (worker, *_) = arena.proxy.children("imap-login")
    borrowed, *others = borrow_channels(worker.pid)
    for fd in others:  # One that was just forked has yet to close what is not its own.
        os.close(fd)
    try:
        for number in range(10_000):
            size = number % 100
            os.write(borrowed, secrets.token_bytes(size) if size else b"x")
    finally:
        os.close(borrowed)
    assert try_login(arena).startswith(b"a1 OK ")
    with guest(arena) as session:
        assert echoes(session)
    # It is told as a fault of ours, which it would be.
    arena.proxy.wait_log("malformed")
    text = arena.proxy.log_text()
    arena.proxy.log.write_text(text.replace("BUG:", "(expected)"))


def borrow_channels(pid: int) -> list[int]:
    """Return copies of a process's ends of channels: sockets of Unix packets that are connected."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    found = []
    try:
        for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
            target = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}"))
            if target and is_packet_socket(target[1]):
                found.append(int(libc.syscall(438, pidfd, int(name), 0)))  # pidfd_getfd
    finally:
        os.close(pidfd)
    if not found or min(found) < 0:
        pytest.skip("pidfd_getfd is not allowed here")
    return found


def is_packet_socket(inode: str) -> bool:
    with open("/proc/net/unix") as table:
        return any(line.split()[6] == inode and line.split()[4] == "0005" for line in table if inode in line)
