"""Rows B11 to B19: hostile answers of backends to a login, and logins that lead back to the proxy."""

from __future__ import annotations

import re
import time

import pytest

from tests.harness.arena import Arena
from tests.harness.attempts import FAILED, OK, PROTOCOLS, TEMPORARY
from tests.harness.backend_attempts import answers, answers_pop3, attempt, log_in
from tests.harness.oracles import Oracles
from tests.harness.raw_client import b64
from tests.harness.wait import wait_until

MODES = ("shared", "per-connection")
SETTINGS = "login_proxy_timeout = 5\n"


def test_near_miss_replies(arena: Arena) -> None:
    """B11: tokens are compared whole and whatever their case; a bare OK will do; other tags are errors."""
    for text, verdict in (
        (b"TAG OKAY in\r\n", TEMPORARY["imap"]),
        (b"TAG\tOK in\r\n", TEMPORARY["imap"]),
        (b"TAGX OK in\r\n", TEMPORARY["imap"]),
        (b"X OK in\r\n", TEMPORARY["imap"]),
        (b"OK in\r\n", TEMPORARY["imap"]),
        (b"TAG PREAUTH in\r\n", TEMPORARY["imap"]),
        (b" TAG OK in\r\n", TEMPORARY["imap"]),
        (b"TAG ok in\r\n", b"a1 ok in"),
        (b"TAG OK\r\n", b"a1 OK"),
        (b"TAG OK in\n", b"a1 OK in"),
    ):
        reply, _ = attempt(arena, "imap", answers(text))
        assert reply.startswith(verdict), (text, reply)


def test_near_miss_replies_of_pop3(arena: Arena) -> None:
    """B11: the same for POP3."""
    for to_user, to_pass, verdict in (
        (b"+OKAY\r\n", b"", TEMPORARY["pop3"]),
        (b"+\r\n", b"", TEMPORARY["pop3"]),
        (b"OK\r\n", b"", TEMPORARY["pop3"]),
        (b"+ok\r\n", b"+ok\r\n", b"+ok"),
        (b"+OK\r\n", b"+OKAY\r\n", TEMPORARY["pop3"]),
        (b"+OK\r\n", b"* OK\r\n", TEMPORARY["pop3"]),
        (b"+OK\r\n", b"-ERRATIC\r\n", TEMPORARY["pop3"]),
    ):
        reply, _ = attempt(arena, "pop3", answers_pop3(to_user, to_pass))
        assert reply.startswith(verdict), (to_user, to_pass, reply)


def test_untagged_lines_before_the_ok(arena: Arena) -> None:
    """B12: none of them reaches the client, above all not what looks like his own tagged reply."""
    reply, _ = attempt(
        arena,
        "imap",
        answers(b"* CAPABILITY IMAP4rev1\r\n* OK [ALERT] hello\r\n* BYE not yet\r\nTAG OK in\r\n"),
    )
    assert reply == b"a1 OK in"
    reply, _ = attempt(arena, "imap", answers(b"a1 OK fake\r\n* 1 EXISTS\r\n"))
    assert reply.startswith(TEMPORARY["imap"])


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b"NO [UNAVAILABLE] x-y-z", b"a1 NO [UNAVAILABLE] "),
        (b"NO [INUSE] x-y-z", b"a1 NO [INUSE] "),
        (b"NO [LIMIT] x-y-z", b"a1 NO [LIMIT] "),
        (b"NO [ALERT] x-y-z", FAILED["imap"]),
        (b"NO [REFERRAL imap://other.example/] x-y-z", FAILED["imap"]),
        (b"NO no such user x-y-z", FAILED["imap"]),
        (b"NO bad password x-y-z", FAILED["imap"]),
        (b"NO", FAILED["imap"]),
        (b"BAD x-y-z", FAILED["imap"]),
    ],
)
def test_refusals(arena: Arena, text: bytes, verdict: bytes, oracles: Oracles) -> None:
    """B13, B14, B15: temporary stays temporary, no referral is followed, one text; no relay begins."""
    reply, _ = attempt(arena, "imap", answers(b"TAG " + text + b"\r\n* 1 EXISTS\r\n"))
    assert reply.startswith(verdict)
    assert b"x-y-z" not in reply
    assert b"started proxying" not in oracles.log_since_begin()
    wait_until("the log has the backend's words", lambda: text[:30] in oracles.log_since_begin())


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (b"-ERR [SYS/TEMP] x-y-z", b"-ERR [SYS/TEMP] "),
        (b"-ERR [IN-USE] x-y-z", b"-ERR [IN-USE] "),
        (b"-ERR [LOGIN-DELAY] x-y-z", b"-ERR [SYS/TEMP] "),
        (b"-ERR [AUTH] x-y-z", FAILED["pop3"]),
        (b"-ERR no such user x-y-z", FAILED["pop3"]),
        (b"-ERR", FAILED["pop3"]),
    ],
)
def test_refusals_of_pop3(arena: Arena, text: bytes, verdict: bytes, oracles: Oracles) -> None:
    """B13, B14, B15: the same for POP3, after USER and after PASS."""
    for script in (answers_pop3(text + b"\r\n"), answers_pop3(b"+OK\r\n", text + b"\r\n+OK 1 2\r\n")):
        reply, _ = attempt(arena, "pop3", script)
        assert reply.startswith(verdict)
        assert b"x-y-z" not in reply
    assert b"started proxying" not in oracles.log_since_begin()


def test_continuation_not_due(arena: Arena) -> None:
    """B16, B17: `+` when none is due, endless ones, and SASL rubbish behind it: given up at the first."""
    for text in (b"+ \r\n", b"+ go\r\n" * 1000, b"+ !!!not base64\r\n", b"+ " + b64(b"code=401") + b"\r\n"):
        reply, peer = attempt(arena, "imap", answers(text))
        assert reply.startswith(TEMPORARY["imap"]), (text[:20], reply)
        assert re.fullmatch(rb'P[0-9A-F]{8} LOGIN "john" "%s"\r\n' % Arena.JOHN, bytes(peer.received))


@PROTOCOLS
def test_proxy_points_at_itself(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """B18, A23: a login at our own listener is refused at once, and no connection is made."""
    port = arena.proxy.imap_port if protocol == "imap" else arena.proxy.pop3_port
    arena.add("loop" + protocol, None, port, port)
    start = time.monotonic()
    with arena.client(protocol) as client:
        assert log_in(client, protocol, b"loop" + protocol.encode()).startswith(TEMPORARY[protocol])
        assert time.monotonic() - start < 0.5
        assert log_in(client, protocol).startswith(OK[protocol])
        wait_until("both are logged", lambda: b"started proxying" in oracles.log_since_begin())
    assert oracles.log_since_begin().count(b"client in: AUTH") == 2


def test_banner_in_the_log(arena: Arena, oracles: Oracles) -> None:
    """B19: format strings and escapes of a backend's refusal are shown, never obeyed."""
    reply, _ = attempt(arena, "imap", answers(b"TAG NO %s%n{0}\x1b[31m\x07\x85 " + b"z" * 3000 + b"\r\n"))
    assert reply == FAILED["imap"]
    wait_until("it is logged", lambda: b"%s%n{0}\\x1b[31m\\x07\\x85" in oracles.log_since_begin())
    assert b"z" * 129 not in oracles.log_since_begin()
