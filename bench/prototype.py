"""The least that a login proxy in Python does, to be measured by `bench.floor`; not a proxy to use.

One worker and one authentication process, on bare epoll and `_socket`: no TLS, limit, deadline, check or
failover. Each line has to come in one piece, and whoever does something unexpected is dropped.
Run `python -m bench.prototype PORT BACKEND_PORT USERS LOG`; SIGTERM ends both processes. With
`each` behind it every client gets a process of his own, which is forked when he has come.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import sys
import time
from _socket import AF_INET, AF_UNIX, SOCK_STREAM
from _socket import socket as Socket
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping

_HOST = "127.0.0.1"
_NONBLOCKING = SOCK_STREAM | socket.SOCK_NONBLOCK
_READ_BYTES = 4096
# More than all the requests that are ever open at a time: no line of auth's protocol is cut.
_AUTH_BYTES = 65536
_LOG_BYTES = 4096
_BACKLOG = 4096


class Session:
    """A client and his backend; its handlers are named for what they wait for."""

    __slots__ = ("backend", "client", "number", "password", "rip", "tag", "user", "worker")

    def __init__(self, worker: Worker, client: Socket, rip: str, number: int) -> None:
        self.worker = worker
        self.client = client
        self.rip = rip.encode()
        self.number = number
        self.backend: Socket | None = None
        client.send(b"* OK ready\r\n")
        worker.watch(client, self.on_login)

    def on_login(self) -> None:
        """`a LOGIN user password`; the client is to be silent until he has an answer."""
        self.tag, _, self.user, self.password = self.client.recv(_READ_BYTES).split()
        worker = self.worker
        worker.handlers[self.client.fileno()] = self.close
        worker.waiting[self.number] = self
        response = b2a_base64(b"\0%s\0%s" % (self.user, self.password), newline=False)
        worker.auth.send(
            b"AUTH\t%d\tPLAIN\tservice=imap\tsecured\trip=%s\tresp=%s\n" % (self.number, self.rip, response)
        )

    def on_answer(self, host: bytes, port: bytes) -> None:
        """Where the user's mail is."""
        self.backend = backend = Socket(AF_INET, _NONBLOCKING)
        backend.connect_ex((host.decode(), int(port)))
        self.worker.watch(backend, self.on_banner)

    def on_banner(self) -> None:
        """The backend greets."""
        assert self.backend is not None
        if not self.backend.recv(_READ_BYTES):
            return self.close()
        self.worker.handlers[self.backend.fileno()] = self.on_ok
        self.backend.send(b"P LOGIN %s %s\r\n" % (self.user, self.password))

    def on_ok(self) -> None:
        """The backend has let us in; its words are passed on."""
        assert self.backend is not None
        words = self.backend.recv(_READ_BYTES)
        if words[:4] != b"P OK":
            return self.close()
        self.client.send(self.tag + words[1:])
        handlers = self.worker.handlers
        handlers[self.client.fileno()] = self.on_client
        handlers[self.backend.fileno()] = self.on_backend
        self.worker.log.write(
            b"%d imap-login: Login: user=<%s>, method=PLAIN, rip=%s\n" % (time.time(), self.user, self.rip)
        )

    def on_client(self) -> None:
        """Relay to the backend."""
        assert self.backend is not None
        data = self.client.recv(_READ_BYTES)
        if not data or self.backend.send(data) < len(data):
            self.close()

    def on_backend(self) -> None:
        """Relay to the client."""
        assert self.backend is not None
        data = self.backend.recv(_READ_BYTES)
        if not data or self.client.send(data) < len(data):
            self.close()

    def close(self) -> None:
        """Leave both; the worker closes them after this batch of events."""
        self.worker.waiting.pop(self.number, None)
        for sock in (self.client, self.backend):
            if sock is not None:
                self.worker.handlers.pop(sock.fileno(), None)
                self.worker.ended.append(sock)


class Worker:
    """Accepts, asks auth, and calls the sessions' handlers."""

    def __init__(self, listener: Socket | None, auth: Socket, log_path: str) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.waiting: dict[int, Session] = {}
        self.ended: list[Socket] = []
        self.log = open(log_path, "ab", buffering=_LOG_BYTES)  # noqa: SIM115 -- until the process ends
        self.listener = listener
        self.auth = auth
        self.number = 0
        if listener is not None:
            self.watch(listener, self.on_connection)
        self.watch(auth, self.on_answers)

    def watch(self, sock: Socket, handler: Callable[[], None]) -> None:
        """Have it called whenever there is something to read."""
        self.handlers[sock.fileno()] = handler
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def on_connection(self) -> None:
        """Accept one client."""
        self.greet(*self.listener._accept())  # type: ignore[union-attr]

    def greet(self, fd: int, address: tuple[str, int]) -> None:
        """Begin the session of whom was accepted."""
        client = Socket(AF_INET, SOCK_STREAM, 0, fd)
        client.setblocking(False)
        self.number += 1
        Session(self, client, address[0], self.number)

    def on_answers(self) -> None:
        """`OK number user=… host=… port=…`, or FAIL and the number."""
        for line in self.auth.recv(_AUTH_BYTES).splitlines():
            word, number, *fields = line.split(b"\t")
            session = self.waiting.pop(int(number), None)
            if session is None:
                continue
            if word != b"OK":
                session.close()
                continue
            session.on_answer(fields[1][5:], fields[2][5:])

    def run(self) -> None:
        """Serve until killed; who has no listener, until his client has gone."""
        while self.listener is not None or len(self.handlers) > 1:
            for fd, _events in self.epoll.poll():
                handler = self.handlers.get(fd)
                if handler is None:
                    continue
                try:
                    handler()
                except (OSError, ValueError):
                    handler.__self__.close()  # type: ignore[attr-defined]
            # Not before: a number that is used again within a batch would get the old one's events.
            for sock in self.ended:
                sock.close()
            self.ended.clear()


def authenticate(listener: Socket, lifeline: Socket, users: Mapping[bytes, tuple[bytes, int]]) -> None:
    """Answer workers until nobody holds the other end of the lifeline; any password will do."""
    epoll = select.epoll()
    workers = {}
    epoll.register(listener.fileno(), select.EPOLLIN)
    epoll.register(lifeline.fileno(), select.EPOLLIN)
    while True:
        for number, _events in epoll.poll():
            if number == lifeline.fileno():
                return
            if number == listener.fileno():
                fd, _address = listener._accept()  # type: ignore[attr-defined]
                workers[fd] = Socket(AF_UNIX, SOCK_STREAM, 0, fd)
                epoll.register(fd, select.EPOLLIN)
            elif requests := workers[number].recv(_AUTH_BYTES):
                workers[number].send(b"".join(answer(line, users) for line in requests.splitlines()))
            else:
                workers.pop(number).close()


def answer(line: bytes, users: Mapping[bytes, tuple[bytes, int]]) -> bytes:
    """Say where the user of a request is, if he is."""
    _, number, *_, response = line.split(b"\t")
    user = a2b_base64(response[5:]).split(b"\0")[1]
    if user not in users:
        return b"FAIL\t%s\n" % number
    return b"OK\t%s\tuser=%s\thost=%s\tport=%d\n" % (number, user, *users[user])


def serve_each(listener: Socket, auth_path: str, log_path: str) -> None:
    """Fork for every client; until killed."""
    while True:
        fd, address = listener._accept()  # type: ignore[attr-defined]
        if os.fork() == 0:
            worker = Worker(None, connected(auth_path), log_path)
            worker.greet(fd, address)
            worker.run()
            worker.log.flush()
            os._exit(0)
        os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def connected(path: str) -> Socket:
    """Return a connection to auth."""
    sock = Socket(AF_UNIX, SOCK_STREAM)
    sock.connect(path)
    return sock


def main() -> None:
    """Start auth; this process is the worker, or forks them."""
    port, backend_port, count = map(int, sys.argv[1:4])
    log_path, is_each = sys.argv[4], sys.argv[5:] == ["each"]
    auth_path = f"{log_path}.auth"
    users = {b"bench%d" % number: (_HOST.encode(), backend_port) for number in range(count)}
    # Bare like those of sessions: without the class in Python that the standard library wraps around.
    listener, auth = Socket(AF_INET, SOCK_STREAM), Socket(AF_UNIX, SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((_HOST, port))
    auth.bind(auth_path)
    for sock in (listener, auth):
        sock.listen(_BACKLOG)
    ours, theirs = socket.socketpair()
    gc.freeze()
    if os.fork() == 0:
        ours.close()
        listener.close()
        authenticate(auth, theirs, users)
        os._exit(0)
    theirs.close()
    auth.close()
    if is_each:
        serve_each(listener, auth_path, log_path)
    Worker(listener, connected(auth_path), log_path).run()


if __name__ == "__main__":
    main()
