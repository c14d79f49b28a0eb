"""What passdbs said lately, so that a login need not ask again.

An entry holds the whole row, never a verdict: passwords and fields are checked at every hit. Expired
entries stay until they are evicted, as they rescue logins while the database is down.
"""

from __future__ import annotations

from collections import OrderedDict
from sys import getsizeof

from mailproxy.auth.fields import Account

Key = tuple[int | str, ...]
"""Number of the passdb, then the value of each variable that decides its answer: never joined to one
string, so that no two users can meet in one key."""

# What getsizeof does not tell: headers of the garbage collector, the map's slot (which doubles when it
# grows) and list node, rounding of the allocator. Measured by the test of the size.
_ENTRY_OVERHEAD_BYTES = 230


class Cached:
    """One entry; `account` is None for a user that is known not to exist."""

    __slots__ = ("account", "created_at", "fresh_until", "size_bytes", "succeeded")

    def __init__(
        self, account: Account | None, created_at: float, fresh_until: float, succeeded: bool
    ) -> None:
        self.account = account
        self.created_at = created_at
        self.fresh_until = fresh_until
        self.succeeded = succeeded
        self.size_bytes = 0


class AuthCache:
    """Least recently used goes first, counted in bytes. Times are monotonic seconds."""

    def __init__(self, limit_bytes: int, ttl_s: float, negative_ttl_s: float) -> None:
        self._limit_bytes = limit_bytes
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self._entries: OrderedDict[Key, Cached] = OrderedDict()
        self._size_bytes = 0
        self._lookups = 0
        self._hits = 0

    def get(self, key: Key, now: float) -> Cached | None:
        """Find an entry, also an expired one; a hit makes it young in the order of eviction only."""
        self._lookups += 1
        entry = self._entries.get(key)
        if entry is not None and now <= entry.fresh_until:
            self._hits += 1
            self._entries.move_to_end(key)
        return entry

    def put(self, key: Key, account: Account | None, succeeded: bool, now: float) -> None:
        """Store what the database said just now; an entry larger than the cache is not stored."""
        self._drop(key)
        ttl_s = self._negative_ttl_s if account is None else self._ttl_s
        entry = Cached(account, now, now + ttl_s, succeeded)
        entry.size_bytes = _size_bytes(key, account)
        if ttl_s <= 0 or entry.size_bytes > self._limit_bytes:
            return
        self._entries[key] = entry
        self._size_bytes += entry.size_bytes
        while self._size_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size_bytes -= oldest.size_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._size_bytes = 0

    def take_statistics(self) -> tuple[int, int]:
        """Return hits and lookups since the last call."""
        counted = self._hits, self._lookups
        self._hits = self._lookups = 0
        return counted

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry.size_bytes


def _size_bytes(key: Key, account: Account | None) -> int:
    size = _ENTRY_OVERHEAD_BYTES + getsizeof(key) + sum(getsizeof(part) for part in key)
    if account is not None:
        size += getsizeof(account) + getsizeof(account.words) + getsizeof(account.user)
        size += getsizeof(account.allow_nets) + getsizeof(account.fault)
        if account.destination is not None:
            servers = account.destination.servers
            size += (
                getsizeof(account.destination) + getsizeof(servers) + getsizeof(account.destination.source_ip)
            )
            size += sum(
                getsizeof(server) + getsizeof(server.host) + getsizeof(server.port) for server in servers
            )
        if account.stored is not None:
            size += getsizeof(account.stored) + getsizeof(account.stored.data)
    return size
