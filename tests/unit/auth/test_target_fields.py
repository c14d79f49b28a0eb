"""Where a row says that a user goes."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.auth.target_fields import (
    BadField,
    Destination,
    Server,
    is_host_name,
    of_family,
    parse_servers,
    read_target,
)

ADDRESS = {"proxy": "", "host": "10.0.0.1"}


def sent(**fields: str) -> dict[str, str]:
    found, destination = read_target({**ADDRESS, **fields})
    assert destination is None
    return {name: value for name, value in found.items() if found.get(name) != ADDRESS.get(name)}


def left(**fields: str) -> Destination:
    found, destination = read_target({"proxy": "", **fields})
    assert destination is not None
    assert not {"host", "hostip", "port", "proxy_balance", "proxy_alternatives"} & set(found)
    return destination


def fault(**fields: str) -> str:
    with pytest.raises(BadField) as refused:
        read_target({**ADDRESS, **fields})
    return str(refused.value)


# -- host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "servers"),
    [
        ("10.0.0.1", [("10.0.0.1", "143", False)]),
        ("10.0.0.1:1143", [("10.0.0.1", "1143", False)]),
        ("2001:DB8::1", [("2001:db8::1", "143", False)]),
        ("[2001:DB8::1]:1143", [("2001:db8::1", "1143", False)]),
        ("[::1]", [("::1", "143", False)]),
        ("mail.example.com", [("mail.example.com", "143", True)]),
        (
            "Imap_1:993, 10.0.0.2 ,,[::1]:1",
            [("Imap_1", "993", True), ("10.0.0.2", "143", False), ("::1", "1", False)],
        ),
        ("a,b,a,a:143", [("a", "143", True), ("b", "143", True)]),
    ],
)
def test_servers(host: str, servers: list[tuple[str, str, bool]]) -> None:
    assert parse_servers(host, "143") == tuple(Server(*server) for server in servers)


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", ",", "a b", "a\tb", "a\nb", "a\r", "a\0b", "a/b", "a@b", "m\u00e4il", "\u0661"),
        *("a:", "a:0", "a:65536", "a:x", "a:1:2", ":143", "[", "[]", "[::1", "[::1]x", "[a]:1", "[10.0.0.1]"),
        *("10.0.0.256", "1.2.3", "a..b", ".a", "a.", "x" * 64, ".".join(["x" * 50] * 6), "fe80::1%eth0"),
        ",".join(f"10.0.1.{number}" for number in range(17)),
    ],
)
def test_hosts_that_are_none(host: str) -> None:
    """A23: nothing else than an address or a name reaches DNS, a connect or a line."""
    if host == "1.2.3":
        # One of the old spellings of an address that inet_aton takes.
        assert parse_servers(host, "")[0].host == "1.2.0.3"
        return
    with pytest.raises(BadField, match="'host'"):
        parse_servers(host, "")


NAMES = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}\.){0,3}[a-z][a-z0-9-]{0,10}", fullmatch=True).filter(
    is_host_name
)
PORTS = st.integers(1, 65535).map(str)


@given(st.lists(st.tuples(NAMES | st.ip_addresses().map(str), st.just("") | PORTS), min_size=1, max_size=16))
def test_servers_come_back_as_written(items: list[tuple[str, str]]) -> None:
    """B18: whatever a list is made of, each server of it is found again, in order and once."""
    words, expected = [], []
    for host, port in items:
        shown = f"[{host}]" if ":" in host and port else host
        words.append(f"{shown}:{port}" if port else shown)
        try:
            address = str(ipaddress.ip_address(host))
        except ValueError:
            address = ""
        expected.append(Server(address or host, port or "7", not address))
    assert parse_servers(" , ".join(words), "7") == tuple(dict.fromkeys(expected))


@given(st.text(max_size=60) | st.text(alphabet="[]:,.-_/ 0129af\r\n\0%", max_size=40))
def test_any_text_is_servers_or_a_fault(text: str) -> None:
    """A23: no other exception, and what is accepted is fit for a line."""
    try:
        servers = parse_servers(text, "")
    except BadField as refused:
        servers, told = (), str(refused)
    else:
        told = ""
    assert bool(servers) != bool(told)
    assert told.isprintable()
    for server in servers:
        assert server.host.isascii()
        assert not set(server.host) & set("\r\n\0 /,\t")
        assert server.is_name == is_host_name(server.host)


def test_immediate_failure() -> None:
    """0 is a value of its own there, unlike in proxy_timeout."""
    name = "proxy_host_immediate_failure_after"
    for written, sent in (("0", "0"), ("1500 ms", "1.5"), ("2 mins", "120"), ("100", "100")):
        found, _ = read_target({**ADDRESS, name: written})
        assert found[name] == sent
    assert f"'{name}'" in fault(**{name: "soon"})


def test_list_leaves_the_choice_open() -> None:
    found = left(host="a,b:1", port="143", proxy_balance="hash", source_ip="10.0.0.9")
    assert found == Destination((Server("a", "143", True), Server("b", "1", True)), "hash", "10.0.0.9", False)
    assert left(host="a,b", ssl="yes").has_tls_port
    assert not left(host="a,b", ssl="yes", starttls="yes").has_tls_port
    assert left(host="10.0.0.1,10.0.0.2").balance == ""
    assert "'proxy_balance'" in fault(proxy_balance="random")


# -- the other fields ---------------------------------------------------------------------------------


def test_hostip_spares_the_dns() -> None:
    assert sent(host="mail", hostip="10.0.0.2") == {"host": "mail", "hostip": "10.0.0.2"}
    assert sent(host="mail", hostip="10.0.0.2, 2001:DB8::1")["hostip"] == "10.0.0.2,2001:db8::1"
    assert sent(hostip="10.0.0.1") == {}
    assert "different" in fault(hostip="10.0.0.2")
    assert "'hostip'" in fault(host="mail", hostip="other")
    assert "one server" in fault(host="a,b", hostip="10.0.0.2")


def test_row_cannot_say_what_is_worked_out() -> None:
    assert sent(proxy_alternatives="a/10.0.0.3/1") == {}


@pytest.mark.parametrize("name", ["ssl", "starttls"])
def test_tls(name: str) -> None:
    """T15: a word that is not understood must not become a connection in the clear."""
    assert sent(**{name: "yes"}) == {name: "yes"}
    assert sent(**{name: "any-cert"}) == {name: "any-cert"}
    assert sent(**{name: "no"}) == {}
    for value in ("Y", "true", "anycert", "YES", "1"):
        assert f"'{name}'" in fault(**{name: value})


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        *(("30", "30"), ("500 msecs", "0.5"), ("5 s", "5"), ("1 min", "60"), ("2mins", "120")),
        *(("1500ms", "1.5"), ("1 h", "3600"), ("10 secs", "10"), ("1 msec", "0.001"), ("100", "100")),
    ],
)
def test_timeouts(written: str, seconds: str) -> None:
    assert sent(proxy_timeout=written) == {"proxy_timeout": seconds}


def test_timeouts_that_are_none() -> None:
    assert sent(proxy_timeout="0") == {}
    for value in ("soon", "-1", "1.5", "5 parsecs", "99999999", "1 s x", "\u0661"):
        assert "'proxy_timeout'" in fault(proxy_timeout=value)


def test_source_ip() -> None:
    """X08: an address of another family would fail at each connect."""
    assert sent(source_ip="10.0.0.9") == {"source_ip": "10.0.0.9"}
    assert "family" in fault(source_ip="::1")
    assert "'source_ip'" in fault(source_ip="eth0")
    assert sent(host="mail", hostip="10.0.0.2,::2", source_ip="::1")["hostip"] == "::2"
    assert of_family(("10.0.0.1", "::1"), "") == ("10.0.0.1", "::1")


def test_proxy_header() -> None:
    """A word that is not understood is no header, and no login without one."""
    assert sent(haproxy="yes") == {"haproxy": "yes"}
    assert sent(haproxy="no") == {}
    for value in ("Y", "true", "v2", "1"):
        assert "'haproxy'" in fault(haproxy=value)


def test_mechanisms_and_flags() -> None:
    assert sent(proxy_mech="xoauth2", master="boss") == {"proxy_mech": "XOAUTH2", "master": "boss"}
    assert "'proxy_mech'" in fault(proxy_mech="PLAIN x")
    flags = {"proxy_maybe": "Y", "proxy_always": "N", "proxy_not_trusted": "1"}
    assert sent(**flags) == dict.fromkeys(flags, "")
    found, _ = read_target({"proxy_maybe": "Y", "host": "10.0.0.1"})
    assert found == {"proxy": "", "host": "10.0.0.1", "proxy_maybe": ""}
