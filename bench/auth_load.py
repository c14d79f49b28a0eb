"""A login worker that only asks: logins at the auth socket of mailproxy or Dovecot, without any client.

So what authentication costs is seen alone, with users in numbers that no backend would have to carry.
"""

from __future__ import annotations

import os
import selectors
import socket
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

from mailproxy.auth.shares import Shares

_WINDOW = 32
_PATIENCE_S = 30.0


class _Link:
    def __init__(self, path: Path, window: int) -> None:
        self.window = window
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE_S)
        self.sock.connect(str(path))
        self.sock.sendall(b"VERSION\t1\t1\nCPID\t%d\n" % os.getpid())
        self.rest = b""
        while b"\nDONE\n" not in self.rest:
            self.rest += self._receive()
        self.rest = b""
        self.queue: list[bytes] = []
        self.asked = 0

    def _receive(self) -> bytes:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("auth has closed the connection")
        return data

    def ask(self) -> None:
        """Keep some requests open."""
        lines, self.queue = self.queue[: self.window - self.asked], self.queue[self.window - self.asked :]
        if lines:
            self.sock.sendall(b"".join(lines))
            self.asked += len(lines)

    def take(self) -> int:
        """Read answers, which have to be good, and return their number."""
        *lines, self.rest = (self.rest + self._receive()).split(b"\n")
        for line in lines:
            if not line.startswith(b"OK\t"):
                raise ConnectionError(f"auth says {line[:200]!r}")
        self.asked -= len(lines)
        return len(lines)


def ask_all(paths: list[Path], users: Iterable[int], workers: int = 1) -> int:
    """Log these users in, each at the process that has him; returns how many they were.

    32 requests are open at a time for each process: all of one worker, or fewer of each of several.
    """
    links = [[_Link(path, _WINDOW // workers) for _ in range(workers)] for path in paths]
    shares = Shares(tuple(path.name for path in paths))
    total = 0
    for number, user in enumerate(users, 1):
        response = b64encode(b"\0bench%d\0any" % user)
        link = links[shares.number_for(b"PLAIN", response) or 0][number % workers]
        link.queue.append(
            b"AUTH\t%d\tPLAIN\tservice=imap\tsecured\tlip=127.0.0.1\trip=127.0.0.1\tresp=%s\n"
            % (number, response)
        )
        total += 1
    with selectors.DefaultSelector() as selector:
        for link in (every := [link for those in links for link in those]):
            selector.register(link.sock, selectors.EVENT_READ, link)
            link.ask()
        left = total
        while left:
            ready = selector.select(_PATIENCE_S)
            if not ready:
                raise TimeoutError("auth does not answer")
            for key, _ in ready:
                left -= key.data.take()
                key.data.ask()
    for link in every:
        link.sock.close()
    return total
