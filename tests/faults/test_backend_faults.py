"""Rows B03 to B20: hostile backends, while logging in and while relaying."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tests.harness.arena import Arena
from tests.harness.oracles import Oracles, memory_kib
from tests.harness.raw_client import RawClient, b64
from tests.harness.scripted_backend import Peer, Script, ScriptedBackend
from tests.harness.wait import wait_until

SETTINGS = "login_proxy_timeout = 5\n"

PROTOCOLS = pytest.mark.parametrize("protocol", ["imap", "pop3"])
TEMPORARY = {"imap": b"a1 NO [UNAVAILABLE] ", "pop3": b"-ERR [SYS/TEMP] "}
FAILED = {
    "imap": b"a1 NO [AUTHENTICATIONFAILED] Authentication failed.",
    "pop3": b"-ERR [AUTH] Authentication failed.",
}
BANNER = {"imap": b"* OK backend\r\n", "pop3": b"+OK backend\r\n"}
OK = {"imap": b"a1 OK", "pop3": b"+OK"}


def scripted(arena: Arena, protocol: str) -> ScriptedBackend:
    return arena.imap if protocol == "imap" else arena.pop3


def log_in(client: RawClient, protocol: str, user: bytes = b"john") -> bytes:
    """Return the last reply of a login as the user with JOHN's password."""
    if protocol == "imap":
        return client.ask(b"a1 LOGIN %s %s\r\n" % (user, Arena.JOHN))
    assert client.ask(b"USER %s\r\n" % user) == b"+OK"
    return client.ask(b"PASS %s\r\n" % Arena.JOHN)


def attempt(arena: Arena, protocol: str, script: Script) -> tuple[bytes, Peer]:
    """Log in once with the backend playing `script`.

    Returns the client's last reply and the backend's record; a refused client may go on.
    """
    backend = scripted(arena, protocol)
    backend.play(script)
    with arena.client(protocol) as client:
        reply = log_in(client, protocol)
        if reply.startswith((TEMPORARY[protocol], b"a1 NO ", b"-ERR ")):
            follow = b"n NOOP\r\n" if protocol == "imap" else b"FOO\r\n"
            answer = client.ask(follow)
            assert answer.startswith(b"n OK " if protocol == "imap" else b"-ERR Unknown"), answer
    (peer,) = backend.wait_peers(1)
    return reply, peer


def says(data: bytes) -> Script:
    """Play: send this at once, record what comes."""

    def script(peer: Peer) -> None:
        peer.send(data)
        peer.until_end()

    return script


def answers(text: bytes) -> Script:
    """Play an IMAP backend that answers LOGIN with `text`; TAG stands for its tag."""

    def script(peer: Peer) -> None:
        peer.send(BANNER["imap"])
        tag, _, _ = peer.imap_login()
        peer.send(text.replace(b"TAG", tag))
        peer.until_end()

    return script


def answers_pop3(to_user: bytes, to_pass: bytes = b"") -> Script:
    def script(peer: Peer) -> None:
        peer.send(BANNER["pop3"])
        peer.line()
        peer.send(to_user)
        if to_pass:
            peer.line()
            peer.send(to_pass)
        peer.until_end()

    return script


def leave_at(protocol: str, state: str, leave: Callable[[Peer], None]) -> Script:
    """Play an honest backend up to `state`, then leave."""

    def script(peer: Peer) -> None:
        if state == "inside the greeting":
            peer.send(BANNER[protocol][:4])
        elif state != "before the greeting":
            peer.send(BANNER[protocol])
        if state in ("after USER", "after LOGIN"):
            peer.line()
        elif state == "after PASS":
            peer.pop3_login()
        elif state == "after half of OK":
            tag = peer.imap_login()[0] if protocol == "imap" else b""
            peer.send(tag + b" O" if protocol == "imap" else (peer.pop3_login() and b"+O"))
        leave(peer)

    return script


STATES = {
    "imap": [
        "before the greeting",
        "inside the greeting",
        "after the greeting",
        "after LOGIN",
        "after half of OK",
    ],
    "pop3": [
        "before the greeting",
        "inside the greeting",
        "after the greeting",
        "after USER",
        "after PASS",
        "after half of OK",
    ],
}


@PROTOCOLS
@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
def test_backend_leaves(arena: Arena, protocol: str, leave: Callable[[Peer], None], oracles: Oracles) -> None:
    """B03: FIN and RST in each state: temporary, one error line, no second attempt."""
    for number, state in enumerate(STATES[protocol], 1):
        reply, peer = attempt(arena, protocol, leave_at(protocol, state, leave))
        assert reply.startswith(TEMPORARY[protocol]), (state, reply)
        assert peer.received.count(Arena.JOHN) <= 1
        wait_until(
            f"one error line for each, now {state}",
            lambda n=number: oracles.log_since_begin().count(b" Error: ") == n,  # type: ignore[misc]
        )
    for line in oracles.log_since_begin().splitlines():
        assert line.count(b"connect(") <= 1, line


@PROTOCOLS
@pytest.mark.parametrize(
    "banner",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\xfe\r\n",
        b"\x1b[2J\x1b]0;title\x07%s%n%p\x85\xff\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\0\0\0\n",
        b"\r\n",
    ],
)
def test_foreign_greeting(arena: Arena, protocol: str, banner: bytes) -> None:
    """B04, B19: temporary; no password is sent; the log shows it escaped and cut."""
    reply, peer = attempt(arena, protocol, says(banner))
    assert reply.startswith(TEMPORARY[protocol])
    assert peer.received == b""


@PROTOCOLS
@pytest.mark.parametrize("data", [b"+OK " + b"x" * 100_000, b"* OK \x1b[31m%s%n" + b"y" * 100_000 + b"\r\n"])
def test_line_without_end(arena: Arena, protocol: str, data: bytes) -> None:
    """B05, B19: a line past its limit ends the attempt at once; the log line stays short."""
    start = time.monotonic()
    reply, peer = attempt(arena, protocol, says(data))
    assert reply.startswith(TEMPORARY[protocol])
    assert time.monotonic() - start < 2
    assert peer.received == b""


def test_endless_untagged_lines(arena: Arena) -> None:
    """B05: a million untagged lines: given up after a hundred, memory and CPU flat."""

    def script(peer: Peer) -> None:
        peer.send(BANNER["imap"])
        peer.imap_login()
        for _ in range(200):
            peer.send(b"* x\r\n" * 5000)

    before_kib = memory_kib(arena, "imap-login")
    start = time.monotonic()
    reply, _ = attempt(arena, "imap", script)
    assert reply.startswith(TEMPORARY["imap"])
    assert time.monotonic() - start < 2
    assert memory_kib(arena, "imap-login") - before_kib < 512


def test_literal_in_a_reply(arena: Arena) -> None:
    """B06: `{1000000000}` in a line before the login is text; nothing is allocated or awaited."""
    before_kib = memory_kib(arena, "imap-login")

    def script(peer: Peer) -> None:
        peer.send(b"* OK {1000000000}\r\n")
        tag, _, _ = peer.imap_login()
        peer.send(b"* OK {1000000000}\r\n" + tag + b" OK in\r\n")
        peer.until_end()

    reply, _ = attempt(arena, "imap", script)
    assert reply == b"a1 OK in"
    assert memory_kib(arena, "imap-login") - before_kib < 512


@PROTOCOLS
def test_wrong_greeting(arena: Arena, protocol: str) -> None:
    """B07: PREAUTH, BYE, NO, a greeting of the other protocol: no password, temporary."""
    imap = [
        b"* PREAUTH in already",
        b"* BYE full",
        b"* NO",
        b"+OK",
        b"* BAD",
        b"*",
        b"OK",
        b"* OKAY",
        b"a1 OK",
    ]
    pop3 = [b"-ERR busy", b"* OK", b"+OKAY", b"+", b"+ OK"]
    for banner in imap if protocol == "imap" else pop3:
        reply, peer = attempt(arena, protocol, says(banner + b"\r\n"))
        assert reply.startswith(TEMPORARY[protocol]), (banner, reply)
        assert peer.received == b"", banner


def test_answers_before_questions(arena: Arena) -> None:
    """B08: success lines queued behind the greeting: no relay begins, and tags cannot be foreseen."""
    early = b"* OK hi\r\nP OK in\r\na1 OK in\r\nP00000000 OK in\r\n* OK\r\n"
    reply, _ = attempt(arena, "imap", says(early))
    assert reply.startswith(TEMPORARY["imap"])
    reply, peer = attempt(arena, "pop3", says(b"+OK hi\r\n+OK user\r\n+OK in\r\n"))
    assert reply.startswith(TEMPORARY["pop3"])
    assert b"PASS" not in peer.received


def test_backend_tags_differ(arena: Arena) -> None:
    """B08: each connection has a tag of its own."""
    arena.imap.play(answers(b"TAG NO\r\n"))
    for _ in range(50):
        with arena.client() as client:
            log_in(client, "imap")
    peers = arena.imap.wait_peers(50)
    assert len({bytes(peer.received).split(b" ")[0] for peer in peers}) == 50


@PROTOCOLS
def test_no_line_waits_for_the_next(arena: Arena, protocol: str) -> None:
    """B09: a login whose answers come without delay takes no waiting."""
    start = time.monotonic()
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(OK[protocol])
        assert time.monotonic() - start < 0.2


@PROTOCOLS
@pytest.mark.parametrize("size", [1, 5000, 300_000])
def test_data_behind_the_ok(arena: Arena, protocol: str, size: int) -> None:
    """B10: what comes in the same segment as the OK reaches the client, in order, once."""
    data = bytes(i % 251 for i in range(size))

    def script(peer: Peer) -> None:
        peer.send(BANNER[protocol])
        if protocol == "imap":
            tag, _, _ = peer.imap_login()
            peer.send(tag + b" OK in\r\n" + data)
        else:
            peer.pop3_login()
            peer.send(b"+OK in\r\n" + data)
        peer.echo()

    scripted(arena, protocol).play(script)
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(OK[protocol])
        assert client.take(size) == data
        client.send(b"and back")
        assert client.take(8) == b"and back"


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
    assert oracles.log_since_begin().count(b"client in: AUTH") == 2


def test_banner_in_the_log(arena: Arena, oracles: Oracles) -> None:
    """B19: format strings and escapes of a backend's refusal are shown, never obeyed."""
    reply, _ = attempt(arena, "imap", answers(b"TAG NO %s%n{0}\x1b[31m\x07\x85 " + b"z" * 3000 + b"\r\n"))
    assert reply == FAILED["imap"]
    wait_until("it is logged", lambda: b"%s%n{0}\\x1b[31m\\x07\\x85" in oracles.log_since_begin())
    assert b"z" * 129 not in oracles.log_since_begin()


@PROTOCOLS
@pytest.mark.parametrize("leave", [Peer.close, Peer.reset])
def test_backend_dies_in_the_relay(
    arena: Arena, protocol: str, leave: Callable[[Peer], None], oracles: Oracles
) -> None:
    """B20: the client gets what was received, then the end; one info line with bytes and side."""
    data = b"* data\r\n" * 4000

    def script(peer: Peer) -> None:
        peer.send(BANNER[protocol])
        if protocol == "imap":
            tag, _, _ = peer.imap_login()
            peer.send(tag + b" OK in\r\n")
        else:
            peer.pop3_login()
            peer.send(b"+OK in\r\n")
        peer.line()
        peer.send(data)
        peer.line()
        leave(peer)

    scripted(arena, protocol).play(script)
    with arena.client(protocol) as client:
        assert log_in(client, protocol).startswith(OK[protocol])
        client.send(b"go\r\n")
        assert client.take(len(data)) == data
        client.send(b"go\r\n")
        assert client.rest() == b""
    line = (
        rb"Info: %s-login: proxy\(john\): disconnecting 127.0.0.1 \(Disconnected by server, in=8, out=(\d+)\)"
    )
    found = wait_until(
        "it is logged", lambda: re.findall(line % protocol.encode(), oracles.log_since_begin())
    )
    assert len(found) == 1
    # The reply to the login goes the same way.
    assert len(data) <= int(found[0]) <= len(data) + len(b"a1 OK in\r\n")
