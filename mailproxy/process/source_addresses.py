"""The addresses that backends are dialled from, in turn (`login_source_ips`)."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Sequence


class SourceAddresses:
    """Kept apart by family. With `?` before the first, those that cannot be bound here are left out."""

    def __init__(self, settings: Sequence[str]) -> None:
        self._turn: itertools.count[int] | None = None
        wanted = [address.removeprefix("?") for address in settings]
        if settings and settings[0].startswith("?"):
            wanted = [address for address in wanted if _can_be_bound(address)]
        self._by_family = {
            is_ipv6: found
            for is_ipv6 in (False, True)
            if (found := [address for address in wanted if (":" in address) is is_ipv6])
        }

    def next(self, host: str) -> str:
        """Return the next address for a backend at `host`, empty when the system is to choose."""
        addresses = self._by_family.get(":" in host) if self._by_family else None
        if addresses is None:
            return ""
        if self._turn is None:
            # Only now: each worker begins elsewhere, also one that lives for a single connection.
            self._turn = itertools.count(os.getpid())
        return addresses[next(self._turn) % len(addresses)]


def _can_be_bound(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
