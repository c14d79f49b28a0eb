"""The server's half of the auth protocol."""

from __future__ import annotations

import pytest

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc.auth_protocol import Mechanism, parse_reply, render_auth, render_parameters
from mailproxy.ipc.auth_server_lines import (
    check_version,
    parse_ask,
    parse_cancel,
    parse_client_pid,
    parse_continue,
    render_fail,
    render_greeting,
    render_lacking,
    render_ok,
    render_words,
)


def words(line: bytes) -> list[bytes]:
    return line.rstrip(b"\n").split(b"\t")


def test_ask_reads_what_a_worker_renders() -> None:
    parameters = render_parameters(b"imap", True, b"127.0.0.1", b"10.0.0.5")
    ask = parse_ask(words(render_auth(7, b"PLAIN", parameters, b"AGEAYg==")))
    assert (ask.request_id, ask.mechanism, ask.response) == (7, b"PLAIN", b"AGEAYg==")
    expected = {b"service": b"imap", b"secured": b"", b"lip": b"127.0.0.1", b"rip": b"10.0.0.5"}
    assert ask.parameters == expected


def test_no_response_differs_from_an_empty_one() -> None:
    assert parse_ask([b"AUTH", b"1", b"PLAIN", b"service=imap"]).response is None
    assert parse_ask([b"AUTH", b"1", b"PLAIN", b"service=imap", b"resp="]).response == b""


def test_unknown_parameters_are_kept_out_of_the_way_and_values_unescaped() -> None:
    """A11: an escaped TAB stays within its value."""
    ask = parse_ask([b"AUTH", b"1", b"PLAIN", b"service=imap", b"session=x", b"cert_username=a\x01tb"])
    assert ask.parameters[b"cert_username"] == b"a\tb"


@pytest.mark.parametrize(
    "line",
    [
        b"AUTH",
        b"AUTH\t1",
        b"AUTH\t1\tPLAIN",
        b"AUTH\t1\tPLAIN\tlip=1.2.3.4",
        b"AUTH\t1\tPLAIN\tservice=",
        b"AUTH\t0\tPLAIN\tservice=imap",
        b"AUTH\t-1\tPLAIN\tservice=imap",
        b"AUTH\t4294967296\tPLAIN\tservice=imap",
        b"AUTH\tx\tPLAIN\tservice=imap",
        b"AUTH\t1\tPLAIN\tservice=imap\tresp=AA==\tsecured",
    ],
)
def test_violations(line: bytes) -> None:
    """A12: ids of 0 and rubbish, and anything behind resp=, are violations of the protocol."""
    with pytest.raises(PeerViolation):
        parse_ask(words(line))


def test_small_lines() -> None:
    """A12: wrong versions and malformed handshakes."""
    assert parse_continue([b"CONT", b"3", b"AA=="]) == (3, b"AA==")
    assert parse_continue([b"CONT", b"3"]) == (3, b"")
    assert parse_cancel([b"CANCEL", b"3"]) == 3
    assert parse_client_pid([b"CPID", b"99"]) == 99
    check_version([b"VERSION", b"1", b"17"])
    for broken in ([b"VERSION", b"2", b"0"], [b"VERSION"]):
        with pytest.raises(PeerViolation):
            check_version(broken)
    for call in (parse_continue, parse_cancel, parse_client_pid):
        with pytest.raises(PeerViolation):
            call([b"X"])
    with pytest.raises(PeerViolation):
        parse_client_pid([b"CPID", b"0"])


def test_greeting() -> None:
    mechanisms = [Mechanism(b"PLAIN", frozenset([b"plaintext"]))]
    assert render_greeting(mechanisms, 12, 3) == (
        b"MECH\tPLAIN\tplaintext\nVERSION\t1\t0\nSPID\t12\nCUID\t3\nDONE\n"
    )


def test_greeting_with_news() -> None:
    news = render_lacking(b"imap", {b"SORT", b"IDLE"}) + render_lacking(b"pop3", ())
    assert render_greeting((), 12, 3, news) == (
        b"VERSION\t1\t0\nSPID\t12\nCUID\t3\nLACKING\timap\tIDLE\tSORT\nLACKING\tpop3\nDONE\n"
    )


def test_answers_survive_hostile_values() -> None:
    """A11: TAB and LF in user, password or a field cannot become syntax."""
    sent = render_words({"proxy": "", "host": "10.0.0.1", "x": "a\tpass=evil\nFAIL"})
    line = render_ok(5, b"jo\thn", sent, b"p\nw\tq")
    assert line.count(b"\n") == 1
    reply = parse_reply(words(line))
    assert reply.fields == {
        b"user": b"jo\thn",
        b"proxy": b"",
        b"host": b"10.0.0.1",
        b"x": b"a\tpass=evil\nFAIL",
        b"pass": b"p\nw\tq",
    }


def test_refusals() -> None:
    assert render_fail(1, None) == b"FAIL\t1\n"
    assert render_fail(1, b"joe", temporary=True) == b"FAIL\t1\tuser=joe\ttemp\n"
    assert render_fail(1, None, reason=b"Timeouted") == b"FAIL\t1\treason=Timeouted\n"
