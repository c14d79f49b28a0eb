"""The clients of the benchmark: some processes that log in, ask, load and stay, as they are told.

They share the machine with the proxy, so rates and latencies are those of all together; what the proxy costs
is measured at the proxy.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Generator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NamedTuple

from bench.children import Children, raise_file_limit

Script = Generator[bytes, bytes, None]
"""Yields what to send, and is sent the server's next words; its end is that of the session."""

_BULK_BYTES = 1 << 20
_PATIENCE_S = 20.0
SECRET = b"any"


class Result(NamedTuple):
    """What a command did in one process or in all: seconds are those of the work alone."""

    units: float
    failures: int
    latencies_s: list[float]


def imap_login(user: bytes) -> Script:
    """From the greeting to the tagged OK, then out again."""
    yield b""
    if (yield b"a LOGIN %s %s\r\n" % (user, SECRET))[:4] != b"a OK":
        raise ConnectionError
    yield b"b LOGOUT\r\n"


def pop3_login(user: bytes) -> Script:
    """The same for POP3."""
    yield b""
    yield b"USER %s\r\n" % user
    if (yield b"PASS %s\r\n" % SECRET)[:3] != b"+OK":
        raise ConnectionError
    yield b"QUIT\r\n"


class Place(NamedTuple):
    """Where to log in, and as whom: `bench0`, `bench1` and so on."""

    host: str
    port: int
    protocol: str
    users: int

    def script(self, number: int) -> Script:
        """Return the session of one user."""
        login = imap_login if self.protocol == "imap" else pop3_login
        return login(b"bench%d" % (number % self.users))


class Client:
    """One process's sessions; each public method is a command and runs to its end."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._next_user = number * 7919
        self._open: list[socket.socket] = []
        self._epoll = select.epoll()

    def logins(self, place: Place, seconds: float, at_a_time: int) -> Result:
        """Log in and out for so long; a latency runs from connect to the OK."""
        latencies: list[float] = []
        failures = 0
        running: dict[int, tuple[socket.socket, Script, list[float]]] = {}
        end = time.monotonic() + seconds
        last = end + _PATIENCE_S
        while running or time.monotonic() < end:
            while len(running) < at_a_time and time.monotonic() < end:
                sock, script = self._begin(place)
                running[sock.fileno()] = (sock, script, [time.monotonic()])
                self._epoll.register(sock.fileno(), select.EPOLLIN)
            if time.monotonic() > last:
                failures += len(running)
                for sock, _, _ in running.values():
                    sock.close()
                break
            for fd, _ in self._epoll.poll(1.0):
                sock, script, times = running[fd]
                verdict = self._go_on(sock, script, times)
                if verdict is not None:
                    failures += not verdict
                    if verdict:
                        # greeting, (POP3: user,) OK, goodbye: the OK is the last but one.
                        latencies.append(times[-2] - times[0])
                    del running[fd]
                    sock.close()
        return Result(len(latencies), failures, latencies)

    def _begin(self, place: Place) -> tuple[socket.socket, Script]:
        self._next_user += 1
        script = place.script(self._next_user)
        next(script)
        sock = socket.create_connection((place.host, place.port), _PATIENCE_S)
        sock.setblocking(False)
        return sock, script

    @staticmethod
    def _go_on(sock: socket.socket, script: Script, times: list[float]) -> bool | None:
        """Take an answer; True when the session is over, False when it has failed."""
        try:
            data = sock.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            return False
        if not data:
            return False
        times.append(time.monotonic())
        try:
            sock.send(script.send(data))
        except StopIteration:
            return True
        except OSError:
            return False
        return None

    def stay(self, place: Place, count: int) -> Result:
        """Log in until `count` sessions are open, and keep them."""
        failures = 0
        while len(self._open) < count:
            sock, script = self._begin(place)
            sock.settimeout(_PATIENCE_S)
            self._open.append(sock)
            try:
                for _ in range(1 if place.protocol == "imap" else 2):
                    sock.send(script.send(sock.recv(4096)))
                if not sock.recv(4096).startswith((b"a OK", b"+OK")):
                    failures += 1
            except (OSError, StopIteration):
                failures += 1
        return Result(count - failures, failures, [])

    def ask(self, seconds: float, active: int) -> Result:
        """Send NOOP and wait for the answer, in the last `active` sessions at once."""
        active_ones = self._open[-active:]
        waiting = {}
        latencies: list[float] = []
        for sock in active_ones:
            sock.setblocking(False)
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            waiting[sock.fileno()] = (sock, time.monotonic())
            sock.send(b"n NOOP\r\n")
        end = time.monotonic() + seconds
        while waiting and time.monotonic() < end + _PATIENCE_S:
            for fd, _ in self._epoll.poll(1.0):
                sock, since = waiting.pop(fd)
                if not sock.recv(4096):
                    continue
                now = time.monotonic()
                latencies.append(now - since)
                if now < end:
                    waiting[fd] = (sock, now)
                    sock.send(b"n NOOP\r\n")
        for sock in active_ones:
            self._epoll.unregister(sock.fileno())
        return Result(len(latencies), len(waiting), latencies)

    def download(self, seconds: float, mib: int) -> Result:
        """Have `mib` sent in the last session, again and again; units are GiB."""
        sock = self._open[-1]
        sock.settimeout(_PATIENCE_S)
        buffer = bytearray(_BULK_BYTES)
        total = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            left = mib << 20
            sock.send(b"SEND %d\r\n" % left)
            while left:
                got = sock.recv_into(buffer, min(left, _BULK_BYTES))
                if not got:
                    return Result(total / 1024, 1, [])
                left -= got
            total += mib
        return Result(total / 1024, 0, [])

    def upload(self, seconds: float, mib: int) -> Result:
        """Send `mib` in the last session, again and again; units are GiB."""
        sock = self._open[-1]
        sock.settimeout(_PATIENCE_S)
        data = bytes(_BULK_BYTES)
        total = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sock.send(b"TAKE %d\r\n" % (mib << 20))
            for _ in range(mib):
                sock.sendall(data)
            if sock.recv(100) != b"done\r\n":
                return Result(total / 1024, 1, [])
            total += mib
        return Result(total / 1024, 0, [])

    def leave(self) -> Result:
        """Close every session."""
        for sock in self._open:
            sock.close()
        self._open.clear()
        return Result(0, 0, [])


class Crowd:
    """`processes` clients that do the same at the same time."""

    def __init__(self, processes: int) -> None:
        self._children = Children()
        self._ends: list[Connection] = []
        for number in range(processes):
            ours, theirs = Pipe()
            self._children.fork(lambda theirs=theirs, number=number: _obey(theirs, number))  # type: ignore[misc]
            theirs.close()
            self._ends.append(ours)

    @property
    def processes(self) -> int:
        """How many clients there are."""
        return len(self._ends)

    def do(self, command: Callable[..., Result], *arguments: object) -> Result:
        """Have all obey and return the sum. Raises RuntimeError when one has died."""
        for end in self._ends:
            end.send((command.__name__, arguments))
        try:
            results: list[Result] = [end.recv() for end in self._ends]
        except EOFError:
            raise RuntimeError("a client of the benchmark has died; its last words are above") from None
        latencies = sorted(latency for result in results for latency in result.latencies_s)
        return Result(sum(r.units for r in results), sum(r.failures for r in results), latencies)

    def close(self) -> None:
        """End the processes and with them their sessions."""
        self._children.close()


def _obey(end: Connection, number: int) -> None:
    raise_file_limit()
    client = Client(number)
    while True:
        name, arguments = end.recv()
        end.send(getattr(client, name)(*arguments))
