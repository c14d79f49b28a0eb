"""Packets between mailproxyctl and a running mailproxy."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc.control import (
    Inquiry,
    Reply,
    Request,
    Row,
    parse_inquiry,
    parse_reply,
    parse_request,
    render_inquiry,
    render_reply,
    render_request,
)


@pytest.mark.parametrize("request_", list(Request))
def test_requests_round_trip(request_: Request) -> None:
    argument = b"joe" if request_ is Request.KICK else b""
    assert parse_request(render_request(request_, argument)) == (request_, argument)


@given(st.binary(max_size=300))
def test_any_request_is_read_or_refused(packet: bytes) -> None:
    with contextlib.suppress(PeerViolation):
        assert render_request(*parse_request(packet)) == packet


def test_another_version_is_told() -> None:
    with pytest.raises(PeerViolation, match="different versions"):
        parse_request(b"\x07\x01")


@pytest.mark.parametrize("kind", list(Reply))
def test_replies_round_trip(kind: Reply) -> None:
    assert parse_reply(render_reply(kind, b"text\n")) == (kind, b"text\n")


@given(st.lists(st.text(), min_size=len(Row._fields), max_size=len(Row._fields)))
def test_rows_round_trip_whatever_is_in_them(fields: list[str]) -> None:
    """One row is one line: no field can begin another."""
    row = Row(*fields)
    line = row.render()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert Row.parse(line[:-1]) == row


@pytest.mark.parametrize("line", [b"", b"a\tb", b"\t" * 11])
def test_malformed_rows(line: bytes) -> None:
    with pytest.raises(PeerViolation):
        Row.parse(line)


@given(st.binary(), st.one_of(st.none(), st.binary()))
def test_inquiries_round_trip(user: bytes, password: bytes | None) -> None:
    inquiry = Inquiry(user, "imap", "192.0.2.1", password)
    assert parse_inquiry(render_inquiry(inquiry)) == inquiry
    assert "Secret" not in repr(inquiry._replace(password=b"Secret"))


@pytest.mark.parametrize("packet", [b"", b"a\tb", b"a\tb\tc\td\te", b"a\t\xff\tc", b"x" * 20000])
def test_malformed_inquiries(packet: bytes) -> None:
    with pytest.raises(PeerViolation):
        parse_inquiry(packet)
