"""The listening sockets of the service; what two configurations share is never closed between them."""

from __future__ import annotations

import fcntl
import select
import socket
import termios
from collections.abc import Collection

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.config.settings import Address, Settings
from mailproxy.net.listen import is_bound_to, listen_tcp, make_ready
from mailproxy.process.auth_sockets import AuthSockets


class Listeners:
    """Owned by the master for its life; workers inherit copies."""

    def __init__(self) -> None:
        self.by_address: dict[Address, socket.socket] = {}
        self.inlets: dict[str, socket.socket] = {}
        """By protocol, where relays of the version before come in, until all have come."""
        self._offered: list[socket.socket] = []

    def adopt(self, offered: list[socket.socket]) -> None:
        """Take over sockets that listen already, for addresses that will be asked for."""
        self._offered += offered

    def _take_offered(self, address: Address) -> socket.socket | None:
        for listener in self._offered:
            if is_bound_to(listener, address.host, address.port):
                self._offered.remove(listener)
                make_ready(listener)
                return listener
        return None

    def open(self, settings: Settings, taken: Collection[str]) -> AuthSockets:
        """Open what is not open yet, and sockets for auth. Raises ConfigError, and nothing has changed.

        `taken` are the paths of auth sockets that are ours already.
        """
        problems: list[Problem] = []
        fresh: dict[Address, socket.socket] = {}
        for address in _addresses(settings):
            if address not in self.by_address and address not in fresh:
                try:
                    offered = self._take_offered(address)
                    fresh[address] = offered or listen_tcp(address.host, address.port)
                except OSError as error:
                    text = f"listen({address.host}:{address.port}) failed: {error.strerror}"
                    problems.append(Problem(text))
        if not problems:
            try:
                sockets = AuthSockets(settings, taken)
                self.by_address |= fresh
                return sockets
            except ConfigError as error:
                problems = error.problems
        for listener in fresh.values():
            listener.close()
        raise ConfigError(problems)

    def keep_only(self, settings: Settings) -> None:
        """Close what these settings do not name."""
        self.drop_offered()
        used = set(_addresses(settings))
        for address in [address for address in self.by_address if address not in used]:
            self.by_address.pop(address).close()

    def drop_offered(self) -> list[str]:
        """Close what was offered and nobody asked for; returns where that listened."""
        unused, self._offered = self._offered, []
        places = [str(listener.getsockname()) for listener in unused]
        for listener in unused:
            listener.close()
        return places

    def open_inlets(self, protocols: Collection[str]) -> dict[str, socket.socket]:
        """Open an inlet for each protocol; returns the other ends, for those who send relays."""
        outlets = {}
        for protocol in protocols:
            self.inlets[protocol], outlets[protocol] = socket.socketpair(
                socket.AF_UNIX, socket.SOCK_SEQPACKET
            )
            self.inlets[protocol].setblocking(False)
        return outlets

    def waits_in_inlet(self, protocol: str) -> bool:
        """Whether a relay has come that no worker has taken yet; closes an inlet from which all have come."""
        inlet = self.inlets.get(protocol)
        if inlet is None:
            return False
        poll = select.poll()
        poll.register(inlet, select.POLLIN)
        events = dict(poll.poll(0)).get(inlet.fileno(), 0)
        waiting_bytes = bytearray(4)
        fcntl.ioctl(inlet, termios.FIONREAD, waiting_bytes)
        if any(waiting_bytes):
            return True
        if events & select.POLLHUP:
            del self.inlets[protocol]
            inlet.close()
        return False

    def close(self) -> None:
        """Close all: nobody new gets in."""
        for listener in (*self.by_address.values(), *self.inlets.values()):
            listener.close()


def _addresses(settings: Settings) -> list[Address]:
    return [address for login in settings.logins for address in (*login.listen, *login.ssl_listen)]
