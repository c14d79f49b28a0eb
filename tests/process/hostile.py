"""What somebody does who runs code in a login worker: within its jail, with its rights and no others.

The master imports this before it forks (`install`). A client who says `OBEY name arguments` has his worker do
what has that name, and gets `DONE` and the outcome in hexadecimal digits.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from mailproxy.session.session import Session

_PATIENCE_S = 10.0
_ASK = b"AUTH\t%d\tPLAIN\tservice=imap\n"
VIOLATIONS = {
    b"a line of 1 MiB": b"x" * (1 << 20) + b"\n",
    b"no line end": b"x" * 100_000,
    b"a response without end": b"AUTH\t1\tPLAIN\tservice=imap\tresp=" + b"A" * 100_000,
    b"wrong version": b"VERSION\t2\t0\n",
    b"another pid": b"CPID\t5\n",
    b"id 0": _ASK % 0,
    b"id 0 goes on": b"CONT\t0\tx\n",
    b"an id that is open": _ASK % 1 + _ASK % 1,
    b"too many open": b"".join(_ASK % number for number in range(1, 20_002)),
}
_held: list[Link] = []


class Link:
    """A connection to auth of one's own."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(_PATIENCE_S)
        self.socket.connect("default")
        self._in = b""
        while self.line() != b"DONE":
            pass
        self.socket.sendall(b"VERSION\t1\t0\nCPID\t%d\n" % os.getpid())

    def line(self) -> bytes:
        """Take the next line. Raises ConnectionError at the end."""
        while b"\n" not in self._in:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError
            self._in += data
        line, _, self._in = self._in.partition(b"\n")
        return line

    def ask(self, data: bytes) -> bytes:
        """Send, and take the next line."""
        self.socket.sendall(data)
        return self.line()

    def is_dropped_for(self, data: bytes) -> bool:
        """Send, and tell whether auth ends the connection."""
        try:
            self.socket.sendall(data)
            while True:
                self.line()
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def violate(_argument: bytes) -> bytes:
    """Break the protocol in every way; returns which of them auth put up with."""
    return b", ".join(name for name, data in VIOLATIONS.items() if not Link().is_dropped_for(data))


def borrow_id(_argument: bytes) -> bytes:
    """Answer the challenge of another connection; returns what either was told."""
    one, two = Link(), Link()
    response = base64.b64encode(b"\0mary\0wrong")
    told = [one.ask(_ASK % 5), two.ask(b"CONT\t5\t%s\n" % response), one.ask(b"CONT\t5\t%s\n" % response)]
    return b"\n".join(told)


def hold(_argument: bytes) -> bytes:
    """Leave 10,000 requests open until this process ends; returns how many challenges came."""
    link = Link()
    link.socket.sendall(b"".join(_ASK % number for number in range(1, 10_001)))
    _held.append(link)
    return b"%d" % len({link.line() for _ in range(10_000)})


def log_in(user: bytes) -> bytes:
    """Ask for somebody without his password; returns the answers."""
    tries = [b"\0%s\0wrong" % user, b"\0%s\0" % user, b"guest\0%s\0wrong" % user, b"\0%s\0NULL" % user]
    more = b"secured\tskip_password_check=1\tmaster_user=root\tuser=" + user
    link = Link()
    for number, message in enumerate(tries, 1):
        response = base64.b64encode(message)
        link.socket.sendall(b"AUTH\t%d\tPLAIN\tservice=imap\t%s\tresp=%s\n" % (number, more, response))
    return b"\n".join(sorted(link.line() for _ in tries))


def _listen() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def reach(argument: bytes) -> bytes:
    """Try to get at files and out of the jail; returns what was possible."""
    attempts: dict[bytes, Callable[[], Any]] = {
        b"list": partial(os.listdir, "/"),
        b"plant a file": partial(os.open, "planted", os.O_CREAT | os.O_WRONLY),
        b"remove auth's socket": partial(os.unlink, "default"),
        b"another root": partial(os.chroot, "."),
        b"be root": partial(os.setuid, 0),
        b"fork": _fork,
        b"exec": partial(os.execv, "/bin/sh", ["sh"]),
        b"signal the master": partial(os.kill, os.getppid(), 0),
        b"hold the master": partial(os.pidfd_open, os.getppid()),
        b"listen": _listen,
        b"datagrams": partial(socket.socket, socket.AF_INET, socket.SOCK_DGRAM),
        b"the system's log": partial(socket.socket, socket.AF_UNIX, socket.SOCK_DGRAM),
        b"raw packets": partial(socket.socket, socket.AF_PACKET, socket.SOCK_RAW),
        b"a file in memory": partial(os.memfd_create, "hidden"),
    }
    for path in argument.split():
        attempts[path] = partial(os.open, path, os.O_RDONLY)
        attempts[b"climb to " + path] = partial(os.open, b"../../../.." + path, os.O_RDONLY)
    return b", ".join(name for name, attempt in attempts.items() if _succeeds(attempt))


def _succeeds(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


_ACTS = {one.__name__.encode(): one for one in (violate, borrow_id, hold, log_in, reach)}


def install() -> None:
    """Have workers that are forked from now on obey."""
    take = Session.on_client_data

    def obey(self: Session, data: bytes, now: float) -> None:
        word, _, rest = data.rstrip().partition(b" ")
        if word != b"OBEY":
            take(self, data, now)
            return
        name, _, argument = rest.partition(b" ")
        self._out.send_client(b"DONE %s\r\n" % _ACTS[name](argument).hex().encode())

    Session.on_client_data = obey  # type: ignore[method-assign]
