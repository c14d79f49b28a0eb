"""The master of before, as the one that takes its place knows it.

What is taken over comes through a socket that the new process is started with: the listeners, the lock of the
pid file, the names of the auth sockets. Until the old master has said *yours* it is the one that serves.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping

from mailproxy.base.errors import ConfigError, PeerViolation, Problem
from mailproxy.ipc.handover import PACKET_BYTES, RELAY_VERSION, parse_word, render_word, text_list
from mailproxy.ipc.status import Order
from mailproxy.net.fd_passing import close_all, receive_packet, send_packet
from mailproxy.net.reactor import READ, Reactor

VARIABLE = "MAILPROXY_PREDECESSOR_FD"
_OFFER_S = 10.0


class Predecessor:
    """Owns the socket to the old master, which lives on while it has sessions that cannot be handed over."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.is_gone = False
        self.auth_paths: list[str] = []
        self.lock_fd = -1
        self.listeners: list[socket.socket] = []

    @classmethod
    def find(cls, environment: MutableMapping[str, str]) -> Predecessor | None:
        """Return who started this process to be succeeded, None for anybody else."""
        number = environment.pop(VARIABLE, "")
        if not number.isdecimal():
            return None
        sock = socket.socket(fileno=int(number))
        os.set_inheritable(sock.fileno(), False)
        return cls(sock)

    def receive(self, base_dir: str) -> None:
        """Wait for what is offered. Raises ConfigError, also if it belongs to another `base_dir`."""
        self._socket.settimeout(_OFFER_S)
        try:
            packet, fds = receive_packet(self._socket, PACKET_BYTES)
            word, facts = parse_word(packet)
            if word != "offer" or not fds:
                raise PeerViolation("it offered nothing")
            self.auth_paths = text_list(facts, "auth_paths")
            self.lock_fd, *numbers = fds
            self.listeners = [socket.socket(fileno=fd) for fd in numbers]
        except (OSError, ValueError, PeerViolation) as error:
            problem = Problem(f"Can't take over from the running mailproxy: {error}")
            raise ConfigError([problem]) from error
        finally:
            self._socket.settimeout(None)
        if base_dir != facts.get("base_dir"):
            text = "base_dir can't be changed by an upgrade; stop mailproxy and start it again"
            raise ConfigError([Problem(text)])

    def refuse(self, problems: list[str]) -> None:
        """Say why we cannot serve; the old master goes on."""
        if self.lock_fd < 0:
            # A socket that is closed with data unread takes back what was said by it.
            self._socket.settimeout(_OFFER_S)
            with contextlib.suppress(OSError, ValueError):
                close_all(receive_packet(self._socket, PACKET_BYTES)[1])
        self._say(render_word("refused", problems=problems))

    def say_ready(self, outlets: Mapping[str, socket.socket], auth_paths: list[str]) -> None:
        """Say that we serve, where, and give the senders' end of what takes the relays of each protocol."""
        fds = [outlet.fileno() for outlet in outlets.values()]
        facts = {"relay_version": RELAY_VERSION, "protocols": list(outlets), "auth_paths": auth_paths}
        self._say(render_word("ready", **facts), fds)

    def _say(self, packet: bytes, fds: list[int] | None = None) -> None:
        with contextlib.suppress(OSError):
            send_packet(self._socket, packet, fds or [])

    def listen(self, reactor: Reactor, on_word: Callable[[str], None]) -> None:
        """Tell what the old master says from now on; *gone* is the last word of all."""

        def on_readable(_events: int) -> None:
            try:
                packet, fds = receive_packet(self._socket, PACKET_BYTES)
                close_all(fds)
                word = parse_word(packet)[0] if packet else "gone"
            except BlockingIOError:
                return
            except (OSError, ValueError, PeerViolation):
                word = "gone"
            if word == "gone":
                reactor.remove(self._socket.fileno())
                self._socket.close()
                self.is_gone = True
            on_word(word)

        self._socket.setblocking(False)
        reactor.add(self._socket.fileno(), READ, on_readable)

    def reopen_logs(self) -> None:
        """Have the old master, if it still lives, open its log files anew."""
        self._say(render_word("reopen"))

    def ask(self, order: Order, argument: bytes, sock: socket.socket) -> None:
        """Have the old master's workers answer somebody as well, whose socket stays the caller's."""
        if not self.is_gone:
            facts = {"order": order.name.lower(), "argument": argument.decode("latin-1")}
            self._say(render_word("ask", **facts), [sock.fileno()])

    def end(self) -> None:
        """Have the old master end the sessions that it still has."""
        self._say(render_word("end"))
