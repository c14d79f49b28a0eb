"""The backend of the benchmark: accepts every login, sends and swallows as many bytes as it is asked to.

Besides the commands of a login it knows `SEND n` and `TAKE n`, which no real server has.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Mapping

from bench.children import Children, raise_file_limit

_ZEROS = memoryview(bytes(1 << 20))
_READ_BYTES = 1 << 20
_BATCH = 256

Answer = Callable[[bytes], bytes]
"""What is said to a line."""


def imap_answer(line: bytes) -> bytes:
    """Return what an IMAP server says to a line."""
    tag, _, command = line.partition(b" ")
    if command[:6].upper() == b"LOGOUT":
        return b"* BYE\r\n" + tag + b" OK out\r\n"
    return tag + b" OK done\r\n"


def pop3_answer(_line: bytes) -> bytes:
    """Return what a POP3 server says to a line."""
    return b"+OK\r\n"


class _Session:
    __slots__ = ("answer", "leaves", "sock", "to_swallow", "to_zero", "unsent")

    def __init__(self, sock: socket.socket, answer: Answer) -> None:
        self.sock = sock
        self.answer = answer
        self.unsent = b""
        self.to_zero = 0
        self.to_swallow = 0
        self.leaves = False

    def read(self) -> bool:
        """Take what has come; False at the end."""
        try:
            data = self.sock.recv(_READ_BYTES if self.to_swallow else 4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        rest = data
        while rest:
            if self.to_swallow:
                self.to_swallow -= len(rest)
                if self.to_swallow == 0:
                    self.unsent += b"done\r\n"
                break
            line, _, rest = rest.partition(b"\n")
            self._on_line(line.rstrip())
        return bool(data) and self.write()

    def _on_line(self, line: bytes) -> None:
        """Obey a command; a client here sends each in one piece."""
        command, _, number = line.partition(b" ")
        if command == b"SEND":
            self.to_zero = int(number)
        elif command == b"TAKE":
            self.to_swallow = int(number)
        else:
            self.unsent += self.answer(line)
            self.leaves = line[-6:].upper() == b"LOGOUT" or line[:4].upper() == b"QUIT"

    def write(self) -> bool:
        """Send what the socket takes; False when there is nothing more to say."""
        try:
            if self.unsent:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
            while self.to_zero:
                self.to_zero -= self.sock.send(_ZEROS[: self.to_zero])
        except BlockingIOError:
            return True
        except OSError:
            return False
        return not self.leaves

    @property
    def is_full(self) -> bool:
        return bool(self.unsent or self.to_zero)


def serve(listeners: Mapping[int, tuple[socket.socket, bytes, Answer]]) -> None:
    """Answer whoever comes, until killed. Values are a listener, its greeting and its words."""
    raise_file_limit()
    epoll = select.epoll()
    for fd in listeners:
        epoll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    sessions: dict[int, _Session] = {}
    full: set[int] = set()
    while True:
        for fd, _events in epoll.poll(maxevents=_BATCH):
            if fd in listeners:
                _accept(epoll, sessions, *listeners[fd])
                continue
            session = sessions[fd]
            if not (session.write() if session.is_full else session.read()):
                del sessions[fd]
                full.discard(fd)
                session.sock.close()
            elif session.is_full != (fd in full):
                full ^= {fd}
                epoll.modify(fd, select.EPOLLOUT if fd in full else select.EPOLLIN)


def _accept(
    epoll: select.epoll,
    sessions: dict[int, _Session],
    listener: socket.socket,
    greeting: bytes,
    answer: Answer,
) -> None:
    try:
        sock, _ = listener.accept()
    except OSError:
        return  # Another process was quicker.
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.send(greeting)
    sessions[sock.fileno()] = _Session(sock, answer)
    epoll.register(sock.fileno(), select.EPOLLIN)


class Sink:
    """Some processes with one port for each protocol; `close` ends them."""

    def __init__(self, processes: int, imap_port: int = 0, pop3_port: int = 0) -> None:
        listeners: dict[int, tuple[socket.socket, bytes, Answer]] = {}
        ports = []
        imap: tuple[int, bytes, Answer] = (imap_port, b"* OK sink\r\n", imap_answer)
        pop3: tuple[int, bytes, Answer] = (pop3_port, b"+OK sink\r\n", pop3_answer)
        for port, greeting, answer in (imap, pop3):
            listener = socket.create_server(("127.0.0.1", port), backlog=4096)
            listener.setblocking(False)
            listeners[listener.fileno()] = (listener, greeting, answer)
            ports.append(listener.getsockname()[1])
        self.imap_port, self.pop3_port = ports
        self._children = Children()
        for _ in range(processes):
            self._children.fork(lambda: serve(listeners))
        for listener, _, _ in listeners.values():
            listener.close()

    def close(self) -> None:
        """End the processes."""
        self._children.close()
