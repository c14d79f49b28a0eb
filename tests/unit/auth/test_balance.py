"""Which server a user goes to."""

from __future__ import annotations

from collections import Counter

import pytest

from mailproxy.auth import balance
from mailproxy.auth.balance import LEAST_REMEMBERED_S, Balance
from mailproxy.auth.target_fields import Server, parse_servers

USERS = [b"user%d@example.com" % number for number in range(3000)]


def order(hosts: str, how: str, user: bytes) -> list[str]:
    servers = Balance("first").order(parse_servers(hosts, ""), how, user, 0.0)
    return [server.host for server in servers]


def homes(hosts: str) -> dict[bytes, Server]:
    servers = parse_servers(hosts, "")
    return {user: Balance("first").order(servers, "hash", user, 0.0)[0] for user in USERS}


def test_first_is_the_order_of_the_row() -> None:
    assert order("b,a,c", "first", b"u") == ["b", "a", "c"]


def test_hash_spreads_users_whatever_the_order_of_the_row() -> None:
    found = homes("a,b,c")
    assert found == homes("c,a,b")
    assert min(Counter(found.values()).values()) > len(USERS) // 3 * 0.85


def test_hash_moves_only_the_users_of_a_server_that_went_away() -> None:
    before, after = homes("a,b,c"), homes("a,c")
    assert all(after[user] == home for user, home in before.items() if home.host != "b")
    spread = Counter(after[user].host for user, home in before.items() if home.host == "b")
    assert min(spread.values()) > sum(spread.values()) // 3


def test_hash_is_the_same_for_all_ports_but_tells_them_apart() -> None:
    """One user's IMAP and POP3 are together, and two servers on one address both have users."""
    imap = {user: home.host for user, home in homes("a:143,b:143").items()}
    assert imap == {user: home.host for user, home in homes("a:110,b:110").items()}
    assert len(Counter(home.port for home in homes("a:1,a:2").values())) == 2


def test_hash_stays_the_same_over_versions() -> None:
    """A change would move every user of every installation."""
    found = order("a.example,b.example,c.example,10.0.0.1", "hash", b"john")
    assert found == ["b.example", "a.example", "c.example", "10.0.0.1"]


@pytest.mark.parametrize("how", ["first", "hash", "least"])
def test_the_setting_is_for_rows_that_do_not_say(how: str) -> None:
    servers = parse_servers("c,a,b", "")
    assert Balance(how).order(servers, "", b"u2", 0.0) == Balance("first").order(servers, how, b"u2", 0.0)
    assert Balance(how).order(servers, "first", b"u2", 0.0) == servers


class Least:
    """Sends users to servers."""

    def __init__(self) -> None:
        self.balance = Balance("least")

    def home(self, user: int, hosts: str = "a,b,c", now: float = 0.0) -> str:
        return self.balance.order(parse_servers(hosts, ""), "", USERS[user], now)[0].host


def test_least_gives_each_server_as_many_users() -> None:
    least = Least()
    assert set(Counter(least.home(user) for user in range(300)).values()) == {100}


def test_least_keeps_a_user_where_he_is() -> None:
    """However often he comes, by IMAP or POP3, he is one user at one server."""
    least = Least()
    found = [least.home(user) for user in range(30)]
    assert {least.home(8, "a:143,b:143,c:143"), least.home(8, "a:110,b:110,c:110")} == {found[8]}
    for minute in range(60):
        assert least.home(7, now=minute * 60.0) == found[7]


def test_least_fills_a_new_server_and_moves_nobody_there() -> None:
    least = Least()
    before = [least.home(user, "a,b") for user in range(100)]
    assert [least.home(user, "a,b,c") for user in range(100)] == before
    assert {least.home(user, "a,b,c") for user in range(100, 150)} == {"c"}


def test_least_moves_the_users_of_a_server_that_went_away_to_the_emptiest() -> None:
    least = Least()
    before = [least.home(user) for user in range(90)]
    after = [least.home(user, "a,c") for user in range(90)]
    assert all(new == old for old, new in zip(before, after, strict=True) if old != "b")
    assert Counter(after) == {"a": 45, "c": 45}


def test_least_forgets_who_stays_away() -> None:
    """Servers that filled up long ago count as empty again; who came meanwhile stays."""
    least = Least()
    old = [least.home(user, "a,b") for user in range(40)]
    assert least.home(5, "a,b", LEAST_REMEMBERED_S / 2) == old[5]
    assert least.home(50, "a,b", LEAST_REMEMBERED_S + 1) != old[5]
    assert least.home(5, "a,b", LEAST_REMEMBERED_S + 2) == old[5]
    assert len(least.balance._places) == 2


def test_least_remembers_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "_LIMIT_USERS", 100)
    least = Least()
    for user in range(500):
        least.home(user)
    assert len(least.balance._places) == 100
    assert sum(least.balance._users.values()) == 100


def test_the_others_follow_in_the_order_of_hash() -> None:
    servers, least = parse_servers("a,b,c,d", ""), Balance("least")
    for user in USERS[:50]:
        hashed = list(least.order(servers, "hash", user, 0.0))
        home, *others = least.order(servers, "least", user, 0.0)
        hashed.remove(home)
        assert others == hashed
