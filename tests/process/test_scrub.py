"""What a worker that served many still knows of them."""

from __future__ import annotations

import base64
import os
import re
import secrets

import pytest

from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.process.test_certificate_files import TlsArena

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a worker's memory is open to root alone")


@pytest.mark.parametrize(("way", "crowd"), [("imap", 100), ("imap", 1000), ("pop3", 1000), ("tls", 1000)])
def test_passwords_are_not_left_in_memory(way: str, crowd: int) -> None:
    """V07: of 1,000 logins, so many at a time and by several commands, under 1 % is left a moment later."""
    with TlsArena(MODES["shared"], "login_processes_count = 1", "auth_debug = no") as arena:
        stem = f"Marker-{secrets.token_hex(4)}-"
        passwords = [f"{stem}{number:04d}".encode() + b"x" * (number % 37) for number in range(1000)]
        for first in range(0, len(passwords), crowd):
            log_in_together(arena, way, passwords[first : first + crowd])
        (worker,) = arena.proxy.children("pop3-login" if way == "pop3" else "imap-login")

        in_plain = re.compile(re.escape(stem.encode()) + rb"\d{4}")
        # What base64 makes of these bytes does not depend on what is around them.
        coded = {in_base64(password) for password in passwords}
        same = in_base64(passwords[0])[:28]
        in_code = re.compile(re.escape(same) + rb"[A-Za-z0-9+/=]{%d}" % (36 - len(same)))

        def left() -> int:
            memory = memory_of(worker.pid)
            return len(set(in_plain.findall(memory))) + len(coded & set(in_code.findall(memory)))

        wait_until("hardly a password is left", lambda: left() < len(passwords) // 100)
        assert str(arena.path).encode() not in memory_of(worker.pid)


def log_in_together(arena: TlsArena, way: str, passwords: list[bytes]) -> None:
    """Log in, all at once, every third one by SASL, and out again."""
    context = arena.context()
    clients = [arena.connect(None, context) if way == "tls" else arena.client(way).socket for _ in passwords]
    for client, password in zip(clients, passwords, strict=True):
        if int(password[16:20]) % 3 == 0:
            command = b"AUTH" if way == "pop3" else b"a1 AUTHENTICATE"
            client.sendall(b"%s PLAIN %s\r\n" % (command, base64.b64encode(b"\0john\0" + password)))
        elif way == "pop3":
            client.sendall(b"USER john\r\nPASS %s\r\n" % password)
        else:
            client.sendall(b"a1 LOGIN john %s\r\n" % password)
    for client in clients:
        answer = client.recv(4096)
        while answer == b"+OK\r\n":  # To USER.
            answer = client.recv(4096)
        assert b"OK" in answer
        client.close()


def in_base64(password: bytes) -> bytes:
    """Return what of a PLAIN response for john is his password's alone."""
    return base64.b64encode(b"\0john\0" + password[:21])[:36]


def memory_of(pid: int) -> bytes:
    """Return all that a process may write to."""
    pieces = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            if rights.startswith("rw"):
                start, end = (int(word, 16) for word in place.split("-"))
                memory.seek(start)
                try:
                    pieces.append(memory.read(end - start))
                except OSError:
                    continue  # What the kernel keeps for itself.
    return b"".join(pieces)
