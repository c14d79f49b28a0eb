"""Which server a user goes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from mailproxy.auth.destination import fields_of, in_order
from mailproxy.auth.target_fields import Destination, Server, parse_servers

USERS = [b"user%d@example.com" % number for number in range(3000)]


def destination(hosts: str, balance: str) -> Destination:
    return Destination(parse_servers(hosts, ""), balance, "", False)


def homes(hosts: str, balance: str = "hash") -> dict[bytes, Server]:
    return {user: in_order(destination(hosts, balance), user)[0] for user in USERS}


def test_first_is_the_order_of_the_row() -> None:
    assert [server.host for server in in_order(destination("b,a,c", "first"), b"u")] == ["b", "a", "c"]


def test_hash_spreads_users_whatever_the_order_of_the_row() -> None:
    found = homes("a,b,c")
    assert found == homes("c,a,b") == homes("a,b,c", "least")
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
    order = in_order(destination("a.example,b.example,c.example,10.0.0.1", "hash"), b"john")
    assert [server.host for server in order] == ["b.example", "a.example", "c.example", "10.0.0.1"]


def fields(
    hosts: str,
    resolved: Mapping[str, tuple[str, ...]],
    *,
    port: str = "",
    source_ip: str = "",
    service: str = "imap",
    tls: bool = False,
) -> dict[str, str]:
    return fields_of(
        Destination(parse_servers(hosts, port), "first", source_ip, tls), b"u", service, resolved
    )


def test_fields() -> None:
    hosts = "mail,10.0.0.2:1143,[::2]:993,other"
    resolved = {"mail": ("10.0.0.1", "::1"), "other": ("10.0.0.3", "::3")}
    assert fields(hosts, resolved, port="143") == {
        "host": "mail",
        "hostip": "10.0.0.1,::1",
        "port": "143",
        "proxy_alternatives": "10.0.0.2/10.0.0.2/1143 ::2/::2/993 other/10.0.0.3/143 other/::3/143",
    }
    assert fields(hosts, resolved, port="143", source_ip="10.0.0.9") == {
        "host": "mail",
        "hostip": "10.0.0.1",
        "port": "143",
        "proxy_alternatives": "10.0.0.2/10.0.0.2/1143 other/10.0.0.3/143",
    }


@pytest.mark.parametrize(
    ("service", "tls", "port"),
    [("imap", False, "143"), ("imap", True, "993"), ("pop3", False, "110"), ("pop3", True, "995")],
)
def test_port_of_one_server_is_not_that_of_the_next(service: str, tls: bool, port: str) -> None:
    found = fields("10.0.0.1:7,10.0.0.2", {}, service=service, tls=tls)
    assert (found["port"], found["proxy_alternatives"]) == ("7", "10.0.0.2/10.0.0.2/" + port)
    found = fields("10.0.0.1,10.0.0.2,10.0.0.3:7", {}, service=service, tls=tls)
    assert found == {
        "host": "10.0.0.1",
        "proxy_alternatives": "10.0.0.2/10.0.0.2/ 10.0.0.3/10.0.0.3/7",
    }


def test_servers_without_an_address_are_left_out() -> None:
    """B01: one name that DNS does not know keeps nobody from the other servers."""
    assert fields("mail,10.0.0.2", {"mail": ()}) == {"host": "10.0.0.2"}
    assert fields("mail,10.0.0.2", {"mail": ()}, source_ip="::1") == {}


def test_line_stays_short() -> None:
    hosts = [f"{'x' * 60}.{'y' * 60}.{'z' * 60}.h{number}" for number in range(16)]
    resolved = dict.fromkeys(hosts, ("2001:db8:1111:2222:3333:4444:5555:6666",) * 8)
    assert len(fields(",".join(hosts), resolved, port="65535")["proxy_alternatives"]) < 20000
