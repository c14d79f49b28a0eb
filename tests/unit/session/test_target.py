from __future__ import annotations

import pytest

from mailproxy.proto.frontend import Refusal
from mailproxy.proto.haproxy import parse
from mailproxy.session.policy import Policy
from mailproxy.session.target import (
    BadTarget,
    Server,
    Target,
    check_referral,
    check_target,
    one_line,
    parse_port,
    refusal_of_fields,
)
from tests.harness.session_recorder import make_client, make_policy

FIELDS = {b"proxy": b"", b"host": b"192.0.2.1", b"pass": b"geheim"}


IMAP, POP3 = make_policy("imap"), make_policy("pop3")


def check(fields: dict[bytes, bytes], policy: Policy = IMAP) -> Target:
    return check_target({**FIELDS, **fields}, b"john", policy, make_client())


def test_target() -> None:
    target = check({b"port": b"1143", b"destuser": b"j"})
    assert (target.servers, target.account.user) == (
        (Server("192.0.2.1", "192.0.2.1", 1143, "192.0.2.1:1143"),),
        b"j",
    )
    assert (target.verify, target.account.starttls, target.account.mechanism) == (None, False, b"")


def test_header() -> None:
    """Whose connection it is, in addresses of either family."""
    client = make_client()
    header = check_target({**FIELDS, b"haproxy": b"yes"}, b"john", IMAP, client).header
    assert parse(header) == (len(header), ("10.0.0.5", 50000, "10.0.0.1", 143))
    client.rip, client.lip = "2001:db8::1", "192.0.2.1"
    header = check_target({**FIELDS, b"haproxy": b"yes"}, b"john", IMAP, client).header
    assert parse(header) == (len(header), ("2001:db8::1", 50000, "192.0.2.1", 143))
    assert check({b"haproxy": b"no"}).header == check({b"haproxy": b""}).header == check({}).header == b""


def test_empty_fields_are_absent() -> None:
    empty = (
        b"port",
        b"destuser",
        b"ssl",
        b"hostip",
        b"master",
        b"proxy_mech",
        b"proxy_timeout",
        b"source_ip",
    )
    target = check({**dict.fromkeys(empty, b""), b"starttls": b"no", b"proxy_alternatives": b""}, POP3)
    assert (target.servers, target.account.user) == (
        (Server("192.0.2.1", "192.0.2.1", 110, "192.0.2.1:110"),),
        b"john",
    )
    assert (target.verify, target.source_ip, target.timeout_s) == (None, "", 0.0)


def test_password_is_given_once() -> None:
    account = check({}).account
    assert account.take_password().reveal() == b"geheim"
    with pytest.raises(RuntimeError):
        account.take_password()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({b"host": b""}, "host not given"),
        ({b"host": b"mail.example"}, "mail.example is not a valid IP"),
        ({b"host": b"192.0.2.1\xff\n"}, r"192.0.2.1\xff\x0a is not a valid IP"),
        ({b"pass": b""}, "password not given"),
        ({b"port": b"143x"}, "port 143x is not a number from 1 to 65535"),
        ({b"port": b"0"}, "port 0 is not a number from 1 to 65535"),
        ({b"port": "١٤٣".encode()}, r"port \xd9\xa1\xd9\xa4\xd9\xa3 is not a number from 1 to 65535"),
        ({b"pass": b"ge\nheim"}, "field pass holds CR, LF or NUL, nothing was sent to the backend"),
        ({b"destuser": b"a\r"}, "field destuser holds CR, LF or NUL, nothing was sent to the backend"),
        ({b"ssl": b"maybe"}, "field ssl is neither yes nor any-cert nor no: maybe"),
        ({b"starttls": b"YES\n"}, r"field starttls is neither yes nor any-cert nor no: YES\x0a"),
        ({b"hostip": b"192.0.2.1,x"}, "x is not a valid IP"),
        ({b"proxy_alternatives": b"b/192.0.2.2/x"}, "proxy_alternatives: b/192.0.2.2/x has no valid port"),
        ({b"proxy_alternatives": b"b"}, "b is not a valid IP"),
        ({b"proxy_mech": b"X"}, "proxy_mech X is none of PLAIN, LOGIN, XOAUTH2, OAUTHBEARER"),
        (
            {b"proxy_mech": b"LOGIN", b"master": b"m"},
            "field master needs proxy_mech=PLAIN, the only one with an authorization ID",
        ),
        ({b"master": b"m\n"}, "field master holds CR, LF or NUL, nothing was sent to the backend"),
        (
            {b"proxy_mech": b"xoauth2", b"pass": b"geheim\x01"},
            "user or token holds byte 1, nothing was sent to the backend",
        ),
        ({b"proxy_timeout": b"soon"}, "proxy_timeout soon is not a number of seconds"),
        ({b"proxy_timeout": b"0"}, "proxy_timeout 0 is not a number of seconds"),
        ({b"source_ip": b"me"}, "source_ip me is not a valid IP"),
    ],
)
def test_bad_target(fields: dict[bytes, bytes], text: str) -> None:
    """A23 C04: the text says what is wrong and never shows the password."""
    with pytest.raises(BadTarget) as problem:
        check(fields)
    assert str(problem.value) == text
    assert "heim" not in str(problem.value)


def test_a_user_is_needed() -> None:
    with pytest.raises(BadTarget, match="user not given"):
        check_target(FIELDS, b"", IMAP, make_client())


@pytest.mark.parametrize(
    ("fields", "verify", "starttls", "imap_port", "pop3_port"),
    [
        ({b"ssl": b"yes"}, True, False, 993, 995),
        ({b"ssl": b"any-cert"}, False, False, 993, 995),
        ({b"starttls": b"yes"}, True, True, 143, 110),
        ({b"starttls": b"any-cert", b"ssl": b"yes"}, False, True, 143, 110),
        ({b"ssl": b"yes", b"port": b"9"}, True, False, 9, 9),
    ],
)
def test_tls(
    fields: dict[bytes, bytes], verify: bool, starttls: bool, imap_port: int, pop3_port: int
) -> None:
    for policy, port in ((IMAP, imap_port), (POP3, pop3_port)):
        target = check(fields, policy)
        assert (target.verify, target.account.starttls, target.servers[0].port) == (verify, starttls, port)


def test_servers_in_turn() -> None:
    """B01: the addresses of the name, then the other servers, each with its name for TLS."""
    target = check(
        {
            b"host": b"a.example",
            b"hostip": b"192.0.2.1,2001:db8::1",
            b"port": b"1143",
            b"proxy_alternatives": b"b.example/192.0.2.2/2143 192.0.2.3/192.0.2.3",
        }
    )
    assert list(target.servers) == [
        Server("a.example", "192.0.2.1", 1143, "a.example(192.0.2.1):1143"),
        Server("a.example", "2001:db8::1", 1143, "a.example(2001:db8::1):1143"),
        Server("b.example", "192.0.2.2", 2143, "b.example(192.0.2.2):2143"),
        Server("192.0.2.3", "192.0.2.3", 1143, "192.0.2.3:1143"),
    ]
    assert [str(server) for server in target.servers[2:]] == ["b.example(192.0.2.2):2143", "192.0.2.3:1143"]


def test_source_ip_fits_the_family() -> None:
    target = check({b"source_ip": b"192.0.2.9", b"proxy_timeout": b"0.5"})
    assert (target.source_ip_for("192.0.2.1"), target.source_ip_for("2001:db8::1")) == ("192.0.2.9", "")
    assert target.timeout_s == 0.5


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "proxying loops: 192.0.2.1:143 is this very server"),
        (
            {b"proxy_maybe": b""},
            "proxy_maybe: 192.0.2.1:143 is this very server, which has no local mail storage",
        ),
        ({b"host": b"10.0.0.1"}, "proxying loops: 10.0.0.1:143 is this very server"),
    ],
)
def test_loops(fields: dict[bytes, bytes], text: str) -> None:
    """B18: by our own addresses, and by the one that this client has reached."""
    policy = make_policy(own_addresses=[("192.0.2.1", 143)])
    with pytest.raises(BadTarget) as problem:
        check(fields, policy)
    assert str(problem.value) == text
    assert check({**fields, b"proxy_always": b""}, policy).servers
    assert check({**fields, b"port": b"144"}, policy).servers


def test_a_ring_comes_to_an_end() -> None:
    """B18: each hop passes on one less; at one nobody is dialled."""
    client = make_client()
    ttls = []
    while client.proxy_ttl > 1:
        identity = check_target(FIELDS, b"john", IMAP, client).account.identity
        assert identity is not None
        client.proxy_ttl = identity.ttl
        ttls.append(identity.ttl)
    assert ttls == [4, 3, 2, 1]
    with pytest.raises(BadTarget, match="loop"):
        check_target(FIELDS, b"john", IMAP, client)


@pytest.mark.parametrize(
    ("value", "port"), [(b"", 143), (b"1", 1), (b"65535", 65535), (b"65536", 0), (b"0", 0)]
)
def test_parse_port(value: bytes, port: int) -> None:
    assert parse_port(value, 143) == port


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a]", b"a@b", b"..", b"a\n", b"\xff"])
def test_bad_referral(host: bytes) -> None:
    """6.4: a host that could end the URL or the response code."""
    with pytest.raises(BadTarget):
        check_referral({b"host": host}, 143)


@pytest.mark.parametrize(
    ("fields", "refusal", "text"),
    [
        ({}, Refusal.CREDENTIALS, b""),
        ({b"temp": b"", b"proxy": b"", b"reason": b"x"}, Refusal.TEMPORARY, b""),
        ({b"code": b"temp_fail", b"reason": b"x"}, Refusal.TEMPORARY, b""),
        ({b"proxy": b"", b"reason": b"x", b"code": b"pass_expired"}, Refusal.CREDENTIALS, b""),
        ({b"reason": b"a\r\nb"}, Refusal.REASON, b"a  b"),
        ({b"code": b"pass_expired", b"reason": b"old"}, Refusal.EXPIRED, b"old"),
        ({b"code": b"user_disabled"}, Refusal.DISABLED, b""),
        ({b"code": b"new"}, Refusal.CREDENTIALS, b""),
    ],
)
def test_refusal_of_fields(fields: dict[bytes, bytes], refusal: Refusal, text: bytes) -> None:
    """24: with proxy in a failure the plain text; what is temporary stays so."""
    assert refusal_of_fields(fields) == (refusal, text)


def test_one_line() -> None:
    assert one_line(b"a\r\n\0\x1b\x7fb\xc3\xa4") == b"a     b\xc3\xa4"
