"""A backend on loopback that does what a test tells it, and records every byte it is sent."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

from tests.harness.wait import wait_until

PATIENCE_S = 90.0
_RESET = struct.pack("ii", 1, 0)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_LITERAL_END = re.compile(rb"\{(\d+)(\+?)\}\r\n\Z")


class Gone(Exception):
    """The peer closed or reset the connection in the middle of a script."""


class Peer:
    """One connection of the proxy to a backend; the methods are the steps of a script."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.socket = sock
        self.address = address
        """Whence it came."""
        self.received = bytearray()
        """Everything, in order; grows while the script runs."""
        self.is_over = threading.Event()
        self._taken = 0

    def send(self, data: bytes) -> None:
        """Send in one write."""
        try:
            self.socket.sendall(data)
        except OSError:
            raise Gone from None

    def _read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Gone
        self.received += data

    def line(self) -> bytes:
        """Take the next line, with its end."""
        while (end := self.received.find(b"\n", self._taken)) < 0:
            self._read()
        return self._take(end + 1 - self._taken)

    def _take(self, count: int) -> bytes:
        while len(self.received) - self._taken < count:
            self._read()
        data = bytes(self.received[self._taken : self._taken + count])
        self._taken += count
        return data

    def expect(self, wanted: bytes) -> None:
        """Take exactly these bytes."""
        found = self._take(len(wanted))
        assert found == wanted, f"the backend was sent {found!r}, not {wanted!r}"

    def imap_login(self) -> tuple[bytes, bytes, bytes]:
        """Read a LOGIN command as a server does, literals included; returns tag, user and password.

        Somebody may ask for the capability before.
        """
        command = self.line()
        if command.endswith(b" CAPABILITY\r\n"):
            self.send(b"%s BAD I do not tell\r\n" % command.split(b" ")[0])
            command = self.line()
        tag, word, rest = command.split(b" ", 2)
        assert word == b"LOGIN", command
        values: list[bytes] = []
        while True:
            rest = rest.removeprefix(b" ")
            if quoted := _QUOTED.match(rest):
                values.append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
                rest = rest[quoted.end() :]
            elif literal := _LITERAL_END.match(rest):
                if not literal[2]:
                    self.send(b"+ go on\r\n")
                values.append(self._take(int(literal[1])))
                rest = self.line()
            else:
                assert rest == b"\r\n", f"not a LOGIN command: {bytes(self.received)!r}"
                user, password = values
                return tag, user, password

    def pop3_login(self) -> tuple[bytes, bytes]:
        """Read USER, accept it, read PASS; returns user and password."""
        words = []
        for verb in (b"USER ", b"PASS "):
            line = self.line()
            assert line.startswith(verb), line
            assert line.endswith(b"\r\n"), line
            words.append(line[len(verb) : -2])
            if verb == b"USER ":
                self.send(b"+OK go on\r\n")
        return words[0], words[1]

    def echo(self) -> None:
        """Send back what comes until the peer's end."""
        while True:
            if self._taken == len(self.received):
                try:
                    self._read()
                except Gone:
                    return
            self.send(self._take(len(self.received) - self._taken))

    def until_end(self) -> None:
        """Record what comes until the peer's end."""
        with contextlib.suppress(Gone):
            while True:
                self._read()

    def close(self) -> None:
        """End the connection by FIN."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self) -> None:
        """End the connection by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()


Script = Callable[[Peer], None]


def imap_echo(peer: Peer) -> None:
    """Accept any login, then echo."""
    peer.send(b"* OK backend\r\n")
    tag, _, _ = peer.imap_login()
    peer.send(tag + b" OK in\r\n")
    peer.echo()


def pop3_echo(peer: Peer) -> None:
    """Accept any login, then echo."""
    peer.send(b"+OK backend\r\n")
    peer.pop3_login()
    peer.send(b"+OK in\r\n")
    peer.echo()


class ScriptedBackend:
    """Listens on `host`:`port` until `close`; each connection runs `script` in a thread of its own.

    A script's AssertionError is kept in `errors`; the peer's leaving ends a script silently.
    """

    def __init__(self, script: Script, host: str = "127.0.0.1", port: int = 0) -> None:
        self.script = script
        self.errors: list[BaseException] = []
        self.peers: list[Peer] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=1024)
        self.host, self.port = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def play(self, script: Script) -> None:
        """Run this script for every connection from now on, and forget the record."""
        self.peers.clear()
        self.script = script

    @property
    def peer(self) -> Peer:
        """The only connection since `play`, once its script has ended or the record cannot change."""
        assert len(self.peers) == 1, f"{len(self.peers)} connections"
        return self.peers[0]

    def wait_peers(self, count: int) -> list[Peer]:
        """Wait until that many connections have been made and all their scripts are over."""
        wait_until(
            f"{count} connections of the proxy are over, {len(self.peers)} came",
            lambda: len(self.peers) >= count and all(peer.is_over.is_set() for peer in self.peers),
            PATIENCE_S,
        )
        assert len(self.peers) == count
        return list(self.peers)

    def check(self) -> None:
        """Raise what went wrong in a script."""
        if self.errors:
            raise self.errors.pop()

    def close(self) -> None:
        """Stop listening and reset what is left."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, (address, *_) = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE_S)
            peer = Peer(sock, address)
            self.peers.append(peer)
            threading.Thread(target=self._run, args=(peer, self.script), daemon=True).start()

    def _run(self, peer: Peer, script: Script) -> None:
        try:
            script(peer)
        except Gone:
            pass
        except BaseException as error:
            self.errors.append(error)
        finally:
            peer.close()
            peer.is_over.set()
