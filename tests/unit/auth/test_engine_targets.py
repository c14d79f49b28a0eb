"""Where an accepted login goes: names, addresses, and which backends are used."""

from __future__ import annotations

from mailproxy.auth.database import Row
from mailproxy.auth.target_fields import Approach
from tests.unit.auth.auth_child import Table, plain
from tests.unit.auth.engine_room import PROXY, TEMP, Room, john


def test_name_is_resolved_before_the_answer() -> None:
    """A23: the host stays the name, for certificates and the log."""
    room = Room(john(host="mail.example.com", port="993", ssl="yes", proxy_timeout="5 s"))
    room.names = {"mail.example.com": ("::1", "::2", "10.0.0.1")}
    assert room.login() == (
        b"OK\t1\tuser=john\tproxy\tssl=yes\tproxy_timeout=5"
        b"\thost=mail.example.com\thostip=::1,10.0.0.1,::2\tport=993\tpass=s\n"
    )
    room.names.clear()
    room.begin(plain(b"john", b"s"))
    assert len(room.lines) == 2


def test_name_that_cannot_be_resolved() -> None:
    """A23: a temporary failure, and the administrator hears of it."""
    room = Room(john(host="mail.example.com"))
    assert room.login() == TEMP
    assert room.errors == [
        "proxy(john,10.0.0.5): DNS lookup of mail.example.com failed: Name or service not known"
    ]


def test_addresses_ask_no_dns() -> None:
    """A23: an IP never does, not in a list either."""
    room = Room(john(host="10.0.0.1, 10.0.0.2:1143", port="143"))
    room.begin(plain(b"john", b"s"))
    assert (room.jobs, room.lines) == (
        [],
        [
            b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tport=143"
            b"\tproxy_alternatives=10.0.0.2/10.0.0.2/1143\tpass=s\n"
        ],
    )


def test_one_name_of_a_list_is_unknown() -> None:
    room = Room(john(host="gone,mail"))
    room.names = {"mail": ("10.0.0.1",)}
    assert room.login() == b"OK\t1\tuser=john\tproxy\thost=mail\thostip=10.0.0.1\tpass=s\n"
    assert room.errors == ["proxy(john,10.0.0.5): DNS lookup of gone failed: Name or service not known"]


def test_name_without_an_address_of_the_family() -> None:
    """X08: source_ip cannot reach it."""
    room = Room(john(host="mail", source_ip="::1"))
    room.names = {"mail": ("10.0.0.1",)}
    assert room.login() == TEMP
    assert room.errors == [
        "proxy(john,10.0.0.5): no server in field 'host' has an address of the family of field 'source_ip'"
    ]


def test_hash_stays_with_the_user_who_goes_out() -> None:
    """B18: the same server for every proxy and each login, also when a row renames the user."""
    hosts = [f"10.0.0.{number}" for number in range(1, 9)]
    renamed = {name: Row(b"s", {**PROXY, "user": "john", "host": ",".join(hosts)}) for name in ("a", "b")}
    for row in renamed.values():
        row.fields["proxy_balance"] = "hash"
    room = Room(Table(renamed))
    assert room.login(user=b"a") == room.login(user=b"b")
    assert b"\thost=10.0.0.1\t" not in room.lines[0]


def test_answer_that_comes_after_the_request_is_over() -> None:
    room = Room(john(host="mail"))
    room.names = {"mail": ("10.0.0.1",)}
    request = room.begin(plain(b"john", b"s"))
    room.engine.expire(request)
    room.run_jobs()
    assert room.lines == [TEMP]


def test_each_accepted_login_tells_its_backend() -> None:
    """A refused one does not, nor one that goes nowhere."""
    room = Room(john(port="1143", ssl="yes", starttls="any-cert", haproxy="yes", source_ip="10.0.0.9"))
    room.login(password=b"wrong")
    assert room.used == []
    room.login()
    room.login()
    approach = Approach("10.0.0.1", "1143", "any-cert", True, "10.0.0.9", True)
    assert room.used == [("imap", approach, "10.0.0.1")] * 2
    assert not approach.has_tls_port
    room = Room(Table({"john": Row(b"s", {"nologin": ""})}))
    room.login()
    assert room.used == []


def test_a_backend_with_a_name_has_the_addresses_of_now() -> None:
    """Given by the row, or by DNS; of several servers the first to be tried."""
    room = Room(john(host="mail", hostip="10.0.0.2,10.0.0.3"))
    room.login()
    assert room.used == [("imap", Approach("mail", "", "", False, "", False), "10.0.0.2,10.0.0.3")]
    room = Room(john(host="one:1143,two", ssl="yes"))
    room.names = {"one": ("10.0.0.4", "::4"), "two": ("10.0.0.5",)}
    room.login()
    room.run_jobs()
    room.run_jobs()
    approach = Approach("one", "1143", "yes", False, "", False)
    assert approach.has_tls_port
    assert room.used == [("imap", approach, "10.0.0.4,::4")]
