"""Which of a row's servers comes first for a user. Pure.

`first` is the order of the row. `hash` is rendezvous hashing: each proxy finds the same order without asking
another, and when a server is taken away only its own users move. `least` sends a new user to the server with
the fewest users of late, and keeps him there.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from mailproxy.auth.target_fields import Server

LEAST_REMEMBERED_S = 900.0
"""A user who does not log in for so long is new again; as Dovecot's director_user_expire."""
_LIMIT_USERS = 100_000


class Balance:
    """Remembers where `least` has sent whom. One for each auth process: it knows no other proxy's users."""

    def __init__(self, default: str) -> None:
        """Take the setting `proxy_balance`, for rows without the field."""
        self._default = default
        self._places: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._users: dict[str, int] = {}

    def order(self, servers: tuple[Server, ...], balance: str, user: bytes, now: float) -> tuple[Server, ...]:
        """Return the servers in the order to try for one user; an empty `balance` is the default.

        Ports do not count, so that IMAP and POP3 agree, unless names are equal. `now` is monotonic seconds.
        """
        balance = balance or self._default
        if balance == "first" or len(servers) == 1:
            return servers
        hashed = _by_hash(servers, user)
        return self._least_first(hashed, user, now) if balance == "least" else hashed

    def _least_first(self, servers: tuple[Server, ...], user: bytes, now: float) -> tuple[Server, ...]:
        self._forget(now)
        known = self._places.pop(user, None)
        host = "" if known is None else known[0]
        if host:
            self._count(host, -1)
        if not any(server.host == host for server in servers):
            host = min(servers, key=lambda server: self._users.get(server.host, 0)).host
        self._places[user] = host, now
        self._count(host, 1)
        return tuple(sorted(servers, key=lambda server: server.host != host))

    def _forget(self, now: float) -> None:
        """Let those go who have been away for too long, and the oldest when there are too many."""
        while self._places:
            host, since = next(iter(self._places.values()))
            if now - since < LEAST_REMEMBERED_S and len(self._places) < _LIMIT_USERS:
                return
            self._places.popitem(last=False)
            self._count(host, -1)

    def _count(self, host: str, step: int) -> None:
        left = self._users.get(host, 0) + step
        if left:
            self._users[host] = left
        else:
            del self._users[host]


def _by_hash(servers: tuple[Server, ...], user: bytes) -> tuple[Server, ...]:
    def score(server: Server) -> tuple[bytes, bytes]:
        host = server.host.lower().encode()
        return _digest(user, host), _digest(user, host + b":" + server.port.encode())

    return tuple(sorted(servers, key=score, reverse=True))


def _digest(user: bytes, server: bytes) -> bytes:
    # The length keeps user and server apart, whatever bytes are in a name.
    return blake2b(b"%d:%s%s" % (len(user), user, server), digest_size=8).digest()
