"""The listening sockets of the service; what two configurations share is never closed between them."""

from __future__ import annotations

import socket
from collections.abc import Collection

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.config.settings import Address, Settings
from mailproxy.net.listen import listen_tcp
from mailproxy.process.auth_sockets import AuthSockets


class Listeners:
    """Owned by the master for its life; workers inherit copies."""

    def __init__(self) -> None:
        self.by_address: dict[Address, socket.socket] = {}

    def open(self, settings: Settings, taken: Collection[str]) -> AuthSockets:
        """Open what is not open yet, and sockets for auth. Raises ConfigError, and nothing has changed.

        `taken` are the paths of auth sockets that are ours already.
        """
        problems: list[Problem] = []
        fresh: dict[Address, socket.socket] = {}
        for address in _addresses(settings):
            if address not in self.by_address and address not in fresh:
                try:
                    fresh[address] = listen_tcp(address.host, address.port)
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
        used = set(_addresses(settings))
        for address in [address for address in self.by_address if address not in used]:
            self.by_address.pop(address).close()

    def close(self) -> None:
        """Close all: nobody new gets in."""
        for listener in self.by_address.values():
            listener.close()


def _addresses(settings: Settings) -> list[Address]:
    return [address for login in settings.logins for address in (*login.listen, *login.ssl_listen)]
