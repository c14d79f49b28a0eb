"""The worker's half of the auth protocol, and its escapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc import auth_protocol
from mailproxy.ipc.auth_protocol import Mechanism, Outcome, Reply
from mailproxy.ipc.auth_server_lines import parse_ask, parse_cancel, parse_continue
from mailproxy.ipc.escape import escape, unescape

VALUES = st.binary(max_size=40) | st.text("\0\1\t\n\r1tnr0=x", max_size=20).map(str.encode)
NAMES = VALUES.filter(lambda name: b"=" not in name and name != b"")
IDS = st.integers(1, (1 << 32) - 1)


@given(VALUES)
def test_escapes_round_trip(value: bytes) -> None:
    escaped = escape(value)
    assert unescape(escaped) == value
    assert not set(escaped) & set(b"\t\n\r\0")


@given(st.lists(VALUES))
def test_escaped_values_keep_their_fields(values: list[bytes]) -> None:
    """CVE-2008-1218: no value can add a field or a line."""
    line = b"\t".join(escape(value) for value in values) + b"\n"
    assert line.count(b"\n") == 1
    assert [unescape(word) for word in line[:-1].split(b"\t")] == (values or [b""])


@given(VALUES)
def test_unescape_takes_anything(value: bytes) -> None:
    assert len(unescape(value)) <= len(value)


def test_odd_escapes() -> None:
    assert unescape(b"a\x01xb\x01") == b"axb"
    assert unescape(b"\x01\x01") == b""
    assert escape(b"\x01t") == b"\x011t"


@given(st.sampled_from([Outcome.OK, Outcome.FAIL]), IDS, st.dictionaries(NAMES, VALUES, max_size=6))
def test_fields_round_trip(outcome: Outcome, request_id: int, fields: dict[bytes, bytes]) -> None:
    line = auth_protocol.render_fields(outcome, request_id, fields)
    assert line.endswith(b"\n")
    assert auth_protocol.parse_reply(line[:-1].split(b"\t")) == Reply(outcome, request_id, fields)


@given(IDS, st.binary(max_size=30).map(lambda raw: raw.hex().encode()))
def test_challenges_round_trip(request_id: int, challenge: bytes) -> None:
    line = auth_protocol.render_challenge(request_id, challenge)
    reply = auth_protocol.parse_reply(line[:-1].split(b"\t"))
    assert reply == Reply(Outcome.CONTINUE, request_id, {}, challenge)


@given(IDS, st.booleans(), st.none() | st.just(b"") | st.binary().map(lambda raw: raw.hex().encode()))
def test_the_other_side_reads_what_we_ask(request_id: int, secured: bool, response: bytes | None) -> None:
    parameters = auth_protocol.render_parameters(b"imap", secured, b"10.0.0.5", b"::1")
    line = auth_protocol.render_auth(request_id, b"PLAIN", parameters, response)
    ask = parse_ask(line[:-1].split(b"\t"))
    expected = {b"service": b"imap", b"lip": b"10.0.0.5", b"rip": b"::1"} | (
        {b"secured": b""} if secured else {}
    )
    assert (ask.request_id, ask.mechanism, ask.parameters, ask.response) == (
        request_id,
        b"PLAIN",
        expected,
        response,
    )


@given(IDS, st.binary().map(lambda raw: raw.hex().encode()))
def test_the_other_side_reads_what_we_go_on_with(request_id: int, response: bytes) -> None:
    words = auth_protocol.render_continue(request_id, response)[:-1].split(b"\t")
    assert parse_continue(words) == (request_id, response)
    assert parse_cancel(auth_protocol.render_cancel(request_id)[:-1].split(b"\t")) == request_id


def test_a_password_with_a_tab_stays_one_field() -> None:
    """CVE-2008-1218."""
    line = auth_protocol.render_fields(Outcome.OK, 1, {b"user": b"joe", b"pass": b"x\tuser=root\nOK\t2"})
    assert line == b"OK\t1\tuser=joe\tpass=x\x01tuser=root\x01nOK\x01t2\n"


def test_of_a_repeated_field_the_last_counts() -> None:
    assert auth_protocol.parse_fields([b"host=a", b"proxy", b"host=b=c"]) == {b"host": b"b=c", b"proxy": b""}


@pytest.mark.parametrize(
    "line",
    [
        b"OK",
        b"FAIL\t",
        b"CONT",
        b"OK\t0",
        b"OK\t-1",
        b"OK\t+1",
        b"OK\t1_0",
        b"OK\t 1",
        b"OK\t4294967296",
        b"OK\t" + b"9" * 5000,
        "OK\t٣".encode(),
        b"OK\tx\tuser=joe",
    ],
)
def test_malformed_replies(line: bytes) -> None:
    with pytest.raises(PeerViolation):
        auth_protocol.parse_reply(line.split(b"\t"))


def test_a_reply_does_not_show_its_fields() -> None:
    assert "Secret" not in repr(Reply(Outcome.OK, 7, {b"pass": b"Secret"}))


def test_mechanism_flags() -> None:
    apop = Mechanism(b"APOP", frozenset([b"private", b"dictionary"]))
    plain = Mechanism(b"PLAIN", frozenset([b"plaintext"]))
    assert (apop.is_plaintext, apop.is_private) == (False, True)
    assert (plain.is_plaintext, plain.is_private) == (True, False)
