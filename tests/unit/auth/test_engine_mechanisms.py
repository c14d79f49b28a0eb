"""Mechanisms in an auth engine: messages, challenges, certificates and tokens."""

from __future__ import annotations

import base64
import hmac

import pytest

from mailproxy.auth.database import Row
from tests.unit.auth.auth_child import Table, plain
from tests.unit.auth.engine_room import FAIL, OK, PARAMETERS, PROXY, Room, flags, john
from tests.unit.auth.test_mechanisms import digest


def test_bad_base64() -> None:
    """A13: the request fails at once with its reason."""
    room = Room(john())
    for response in (b"!!!", b"AGEAYg", b"AGEAYg==x", b"A"):
        room.begin(response)
        assert room.lines[-1] == b"FAIL\t1\treason=Invalid base64 data in initial response\n"
    assert all(room.at_once)


def test_plain_in_two_steps() -> None:
    room = Room(john())
    request = room.begin(None)
    assert room.challenges == [b""]
    room.engine.proceed(request, plain(b"john", b"s"))
    assert room.lines == [OK]


def test_continuation_out_of_turn() -> None:
    room = Room(Table({}, blocking=True))
    request = room.begin(plain(b"john", b"s"))
    room.engine.proceed(request, b"")
    assert room.lines == [b"FAIL\t1\treason=Unexpected continuation\n"]
    room.run_jobs()
    assert len(room.lines) == 1
    other = Room(john())
    other.engine.proceed(other.begin(None), b"!")
    assert other.lines == [b"FAIL\t1\treason=Invalid base64 data in continued response\n"]


def cram(room: Room, password: bytes) -> bytes:
    request = room.begin(None)
    answer = b"john " + hmac.new(password, room.challenges[-1], "md5").hexdigest().encode()
    room.engine.proceed(request, base64.b64encode(answer))
    return room.lines[-1]


def test_challenge_mechanism() -> None:
    """No password was typed, so none is forwarded; the cache serves it as well."""
    table = john()
    room = Room(table, mechanism="CRAM-MD5", cache=True)
    assert cram(room, b"s") == cram(room, b"s") == b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\n"
    assert cram(room, b"t") == FAIL
    assert table.seen[0]["w"] == ""


def test_last_message_of_a_mechanism_goes_ahead_of_the_success() -> None:
    """RFC 2831: rspauth is a challenge, an empty answer to it ends the exchange; never after a failure."""
    room = Room(john(), mechanism="DIGEST-MD5")
    request = room.begin(None)
    room.engine.proceed(request, base64.b64encode(digest(room.challenges[0], b"john", b"", b"s")))
    assert room.challenges[1].startswith(b"rspauth=")
    assert room.lines == []
    room.engine.proceed(request, b"")
    assert room.lines == [b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\n"]
    wrong = Room(john(), mechanism="DIGEST-MD5")
    request = wrong.begin(None)
    wrong.engine.proceed(request, base64.b64encode(digest(wrong.challenges[0], b"john", b"", b"t")))
    assert (len(wrong.challenges), wrong.lines) == (1, [FAIL])


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (b"{SHA}x", "password(john,10.0.0.5): Requested CRAM-MD5 scheme, but we have only SHA"),
        (None, "password(john,10.0.0.5): Requested CRAM-MD5 scheme, but the password is NULL"),
    ],
)
def test_challenge_mechanism_without_a_fitting_scheme(stored: bytes | None, why: str) -> None:
    room = Room(john(stored), mechanism="CRAM-MD5")
    assert cram(room, b"s") == FAIL
    assert why in room.logged


def test_certificates() -> None:
    """ssl_require_client_cert refuses at once, ssl_username_from_cert replaces the typed name."""
    room = Room(john(), ssl_require_client_cert=True, ssl_username_from_cert=True)
    assert room.login() == b"FAIL\t1\treason=Client didn't present valid SSL certificate\n"
    certified = {**PARAMETERS, b"valid-client-cert": b"", b"cert_username": b"john"}
    room.begin(plain(b"other", b"s"), certified)
    assert room.lines[-1] == OK


def test_certified_name_needs_the_certificate() -> None:
    """A name alone proves nothing, and nobody asked for it where the setting is off."""
    named = {**PARAMETERS, b"cert_username": b"john"}
    for room in (Room(john(), ssl_username_from_cert=True), Room(john())):
        room.begin(plain(b"other", b"s"), named)
        assert room.lines == [b"FAIL\t1\tuser=other\n"]
    room = Room(john())
    room.begin(plain(b"other", b"s"), {**named, b"valid-client-cert": b""})
    assert room.lines == [b"FAIL\t1\tuser=other\n"]


@pytest.mark.parametrize("name", [b"jo\nhn", b"jo\rhn", b"jo\0hn"])
def test_certified_name_with_a_line_end(name: bytes) -> None:
    """C04: it cannot go to a backend, whoever signed it."""
    table = john()
    room = Room(table, ssl_username_from_cert=True)
    room.begin(plain(b"john", b"s"), {**PARAMETERS, b"valid-client-cert": b"", b"cert_username": name})
    assert room.lines == [b"FAIL\t1\n"]
    assert table.asked == []


# -- tokens -------------------------------------------------------------------------------------------

XOAUTH2 = base64.b64encode(b"user=john\x01auth=Bearer to.ken\x01\x01")


def test_token_goes_to_the_backend() -> None:
    """The row's password is not asked for; the cache serves tokens as well."""
    table = john(b"{SSHA}rubbish", proxy_mech="xoauth2")
    room = Room(table, mechanism="XOAUTH2", cache=True)
    for _ in range(2):
        room.begin(XOAUTH2)
        assert room.lines[-1] == (
            b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tproxy_mech=XOAUTH2\tpass=to.ken\n"
        )
    assert [values["w"] for values in table.seen] == [""]


@pytest.mark.parametrize(
    "fields",
    [
        {"proxy": "", "host": "10.0.0.1"},
        {"proxy": "", "host": "10.0.0.1", "proxy_mech": "OAUTHBEARER"},
        {"proxy": "", "host": "10.0.0.1", "proxy_mech": "XOAUTH2", "pass": "m"},
        {"proxy_maybe": "", "host": "10.0.0.1", "proxy_mech": "XOAUTH2"},
        {"proxy": "", "proxy_maybe": "", "host": "10.0.0.1", "proxy_mech": "XOAUTH2"},
        {"host": "10.0.0.1", "proxy_mech": "XOAUTH2"},
        {"nologin": "", "proxy_mech": "XOAUTH2"},
        {},
    ],
)
def test_token_that_no_backend_would_check(fields: dict[str, str]) -> None:
    """A22: neither NULL nor another password lets it pass."""
    for password in (None, b"to.ken"):
        room = Room(
            Table({"john": Row(password, fields)}), mechanism="XOAUTH2", debug=True, debug_passwords=True
        )
        room.begin(XOAUTH2)
        assert room.lines == [FAIL]
        assert "ken" not in "".join(room.logged).replace("Token", "")
        assert any("needs a row with proxy, proxy_mech=XOAUTH2" in line for line in room.logged)


def test_token_for_a_service_without_backends() -> None:
    """An SMTP server that asks us would take OK for a proof."""
    room = Room(john(proxy_mech="XOAUTH2"), mechanism="XOAUTH2")
    room.begin(XOAUTH2, {**PARAMETERS, b"service": b"smtp"})
    assert room.lines == [FAIL]


def test_token_of_a_master() -> None:
    """C11: a master proves himself here."""
    boss = Table({"boss": Row(None, {**PROXY, "proxy_mech": "XOAUTH2"})})
    room = Room(boss, john(), flags=flags("master", ""), master_user_separator="*", mechanism="XOAUTH2")
    room.begin(base64.b64encode(b"user=john*boss\x01auth=Bearer t\x01\x01"))
    assert room.lines == [FAIL]


def test_token_of_a_denied_user() -> None:
    """A21: deny wins here too."""
    denied = Table({"john": Row(None, {})})
    room = Room(denied, john(proxy_mech="XOAUTH2"), flags=flags("deny", ""), mechanism="XOAUTH2")
    room.begin(XOAUTH2)
    assert room.lines == [FAIL]
