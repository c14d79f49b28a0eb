"""The auth cache."""

from __future__ import annotations

import gc
import tracemalloc

from mailproxy.auth.cache import AuthCache
from mailproxy.auth.chain import Link
from mailproxy.auth.database import Row
from mailproxy.auth.fields import Account, read_row
from tests.unit.auth.auth_child import Table


def account(number: int = 0) -> Account:
    return read_row(Row(b"password%d" % number, {"proxy": "", "host": "10.0.0.1"}), "PLAIN")


def test_hit_until_the_ttl_and_stale_after() -> None:
    """A07, A10: a hit does not renew; an expired entry is still there to be found."""
    cache = AuthCache(1 << 20, 2.0, 1.0)
    cache.put((1, "john"), account(), True, 100.0)
    for now in (100.5, 101.0, 102.0):
        entry = cache.get((1, "john"), now)
        assert entry is not None
        assert now <= entry.fresh_until
    stale = cache.get((1, "john"), 102.1)
    assert stale is not None
    assert stale.fresh_until < 102.1
    assert cache.take_statistics() == (3, 4)
    assert cache.take_statistics() == (0, 0)


def test_unknown_users_have_a_ttl_of_their_own() -> None:
    """A05: "unknown" lives for the negative TTL only; 0 turns it off."""
    cache = AuthCache(1 << 20, 3600.0, 1.0)
    cache.put((1, "john"), None, False, 100.0)
    entry = cache.get((1, "john"), 100.0)
    assert entry is not None
    assert entry.fresh_until == 101.0
    none = AuthCache(1 << 20, 3600.0, 0.0)
    none.put((1, "john"), None, False, 100.0)
    assert none.get((1, "john"), 100.0) is None


def test_no_two_users_share_a_key() -> None:
    """A01: numbers and values that would join to one string stay apart."""
    table = Table({}, key=("u", "s", "l"))
    links = [Link(number, table, False, False, table.cache_key) for number in (1, 11)]
    parts = ["", "a", "b", "ab", "a\tb", "a/b", "1", "11", "\\", "a\\\tb", "a|", "\0"]
    keys = [
        link.cache_key({"u": u, "s": s, "l": lip, "r": "ignored"})
        for link in links
        for u in parts
        for s in parts
        for lip in parts
    ]
    assert len(set(keys)) == len(keys) == 2 * len(parts) ** 3


def test_key_of_the_user_alone() -> None:
    link = Link(3, Table({}), False, False, ("u",))
    assert link.cache_key({"u": "john", "s": "imap"}) == (3, "john")


def test_least_recently_used_goes_first() -> None:
    """A09: by bytes, a hit makes young."""
    one = AuthCache(1 << 20, 10.0, 10.0)
    one.put((1, "u0"), account(), True, 0.0)
    size = one._size_bytes
    cache = AuthCache(size * 3, 10.0, 10.0)
    for user in ("u0", "u1", "u2"):
        cache.put((1, user), account(), True, 0.0)
    cache.get((1, "u0"), 0.0)
    cache.put((1, "u3"), account(), True, 0.0)
    assert [user for user in ("u0", "u1", "u2", "u3") if cache.get((1, user), 0.0)] == ["u0", "u2", "u3"]


def test_entry_larger_than_the_cache_is_not_stored() -> None:
    """A09: and it does not push anybody out."""
    cache = AuthCache(5000, 10.0, 10.0)
    cache.put((1, "small"), None, False, 0.0)
    cache.put((1, "x" * 6000), None, False, 0.0)
    assert len(cache) == 1
    assert cache.get((1, "small"), 0.0) is not None


def test_replacing_keeps_the_books() -> None:
    """A09: the same key a thousand times is one entry."""
    cache = AuthCache(1 << 20, 10.0, 10.0)
    cache.put((1, "u"), account(), True, 0.0)
    size = cache._size_bytes
    for _ in range(1000):
        cache.put((1, "u"), account(), True, 0.0)
    assert (len(cache), cache._size_bytes) == (1, size)
    cache.clear()
    assert (len(cache), cache._size_bytes) == (0, 0)


def test_memory_stays_near_the_setting() -> None:
    """A09: 100 000 names at 1 MiB take at most 1.3 MiB, rows and unknown users alike."""
    for known in (True, False):
        gc.collect()
        tracemalloc.start()
        cache = AuthCache(1 << 20, 10.0, 10.0)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20000):
            name = f"user{number:06d}@example.com"
            cache.put((1, name), account(number) if known else None, True, 0.0)
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        print(known, used, len(cache))
        assert (0.6 if known else 0.4) * (1 << 20) < used < 1.3 * (1 << 20)
