from __future__ import annotations

import pytest

from mailproxy.proto.imap.render import id_command
from mailproxy.proto.pop3.render import xclient
from mailproxy.session.identity import Claims, claim, describe, identity_of
from tests.harness.session_recorder import make_client

CLAIMS = {
    b"x-originating-ip": b"2001:DB8::5",
    b"x-originating-port": b"4711",
    b"x-connected-ip": b"192.0.2.80",
    b"x-connected-port": b"993",
    b"x-session-id": b"S2",
    b"x-proxy-ttl": b"3",
}


def test_what_is_claimed_is_passed_on() -> None:
    """C19: from hop to hop only checked words, the time to live one less."""
    client = make_client(session_id="S1")
    assert claim(client, CLAIMS)
    identity = identity_of(client)
    assert identity == (b"S2", b"2001:db8::5", 4711, b"192.0.2.80", 993, 2)
    assert id_command(b"I", identity) == (
        b'I ID ("x-session-id" "S2" "x-originating-ip" "2001:db8::5" "x-originating-port" "4711" '
        b'"x-connected-ip" "192.0.2.80" "x-connected-port" "993" "x-proxy-ttl" "2")\r\n'
    )
    assert xclient(identity) == (
        b"XCLIENT ADDR=2001:db8::5 PORT=4711 DESTADDR=192.0.2.80 DESTPORT=993 SESSION=S2 TTL=2\r\n"
    )


def test_a_session_without_id() -> None:
    identity = identity_of(make_client())
    assert b"session" not in id_command(b"I", identity)
    assert b"SESSION" not in xclient(identity)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(b"x-originating-ip", value) for value in (b"", b"x", b"1.2.3", b"fe80::1%eth0", b"192.0.2.1\n")],
        *[(b"x-connected-ip", value) for value in (b'"', b"192.0.2.1 ", b"\xd9\xa1.2.3.4")],
        *[(b"x-originating-port", value) for value in (b"", b"65536", b"-1", b"1_0", b"999999")],
        *[(b"x-session-id", value) for value in (b"", b"a b", b'a"', b"a\\", b"\xe4", b"a\r", b"s" * 65)],
        (b"x-proxy-ttl", b"x"),
    ],
)
def test_nonsense(name: bytes, value: bytes) -> None:
    """C19: nothing of a claim is believed when one of its words is nonsense."""
    client = make_client(session_id="S1")
    before = identity_of(client)
    assert not claim(client, {**CLAIMS, name: value})
    assert identity_of(client) == before


def test_anybody_may_say_that_he_was_passed_on() -> None:
    """B18: only the time to live, only downwards, and no longer than up to STARTTLS."""
    client = make_client(session_id="S1")
    before = identity_of(client)
    claims = Claims(client)
    for ttl in (b"9", b"", b"-1", b"x", b"999999", b"5"):
        assert claims.take({**CLAIMS, b"x-proxy-ttl": ttl})
        assert identity_of(client) == before
    assert claims.take(CLAIMS)
    assert identity_of(client) == before._replace(ttl=2)
    claims.forget()
    assert identity_of(client) == before


def test_claims_are_forgotten() -> None:
    """T03."""
    client = make_client(session_id="S1")
    client.is_trusted = True
    before = identity_of(client)
    claims = Claims(client)
    assert claims.take(CLAIMS)
    assert claims.take({b"x-session-id": b"S3"})
    assert identity_of(client) != before
    claims.forget()
    assert identity_of(client) == before


def test_claims_of_anybody_else() -> None:
    """C19: nothing is changed, and nothing is wrong with them."""
    client = make_client(session_id="S1")
    before = identity_of(client)
    assert Claims(client).take({**CLAIMS, b"x-proxy-ttl": b"x"})
    assert identity_of(client) == before


def test_time_to_live_never_grows() -> None:
    """B18."""
    client = make_client()
    assert claim(client, {b"x-proxy-ttl": b"2"})
    assert claim(client, {b"x-proxy-ttl": b"9"})
    assert client.proxy_ttl == 2


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("*", r"name=a\x0a, version=1"),
        ("VERSION", "version=1"),
        ("version name", r"name=a\x0a, version=1"),
        ("os", ""),
    ],
)
def test_describe(wanted: str, text: str) -> None:
    """B19: what a client says of himself is printable and bounded."""
    assert describe({b"name": b"a\n", b"version": b"1"}, wanted) == text
    assert len(describe({b"name": b"\x1b" * 1000}, "*")) <= 256
