"""Any bytes of any party: no exception, bounded memory, and the same result however they are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailproxy.base.limits import BACKEND_LINE_BYTES, PAUSE_BYTES
from mailproxy.ipc.auth_protocol import Outcome, Reply
from mailproxy.proto.imap.render import derived_tag
from mailproxy.session.session import Session
from mailproxy.session.state import State
from tests.harness.session_recorder import Recorder, make_client, make_policy
from tests.harness.transcript import TAG

POLICIES = {
    name: make_policy(name, (b"PLAIN", b"LOGIN", b"CRAM-MD5", b"APOP"), tls_available=True)
    for name in ("imap", "pop3")
}
LOGIN = {"imap": b"a LOGIN john secret\r\n", "pop3": b"USER john\r\nPASS secret\r\n"}
ACCEPTED = Reply(Outcome.OK, 1, {b"user": b"john", b"proxy": b"", b"host": b"192.0.2.1", b"pass": b'a"b\xff'})
REPLIES = [
    Reply(Outcome.FAIL, 1, {b"user": b"john"}),
    Reply(Outcome.FAIL, 1, {b"temp": b""}),
    Reply(Outcome.CONTINUE, 1, {}, b"VXNlcm5hbWU6"),
]

CLIENT_WORDS = st.sampled_from(
    [
        *(
            b"a ",
            b"a1 ",
            b"LOGIN ",
            b"AUTHENTICATE ",
            b"PLAIN ",
            b"NOOP",
            b"ID ",
            b"(",
            b")",
            b'"',
            b"\\",
            b" ",
        ),
        *(
            b"{3}\r\n",
            b"{3+}\r\n",
            b"{0}\r\n",
            b"{9999}\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"*",
            b"=",
            b"NIL",
        ),
        *(
            b"USER ",
            b"PASS ",
            b"AUTH ",
            b"APOP ",
            b"CAPA\r\n",
            b"QUIT\r\n",
            b"LOGOUT\r\n",
            b"AGpvaG4AeA==",
            b"\xff",
            b"a STARTTLS\r\n",
            b"STLS\r\n",
            b"XCLIENT ADDR=",
            b'ID ("x-originating-ip" "::1")\r\n',
        ),
        *(LOGIN["imap"], LOGIN["pop3"], b"b AUTHENTICATE PLAIN\r\n", b"AUTH LOGIN\r\n", b"x" * 700),
    ]
)
BACKEND_WORDS = st.sampled_from(
    [
        *(
            b"* OK ",
            b"+OK",
            b"-ERR ",
            b"+ ",
            b"* ",
            TAG,
            b" OK",
            b" NO ",
            b" BAD",
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
        ),
        *(
            b"[CAPABILITY ",
            b"LITERAL+ ",
            b"LOGINDISABLED",
            b"] ",
            b"[UNAVAILABLE] ",
            b"{5}\r\n",
            b" x",
            b"\xff",
        ),
        *(b"* OK hello\r\n", b"+OK hello\r\n", TAG + b" OK in\r\n", b"y" * 1500),
    ]
)


def chunks(words: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """Rows of words and rubbish; each item is also where one of the two cuts is made."""
    return st.lists(words | st.binary(max_size=12), max_size=40)


def start(protocol: str) -> tuple[Session, Recorder]:
    out = Recorder()
    session = Session(POLICIES[protocol], out, make_client(), TAG, b"<1@h>" if protocol == "pop3" else b"")
    session.start(0.0)
    return session, out


def answer_auth(session: Session, out: Recorder, replies: list[Reply]) -> None:
    """Let auth answer whatever is open, until it is the client's turn."""
    while session.state is State.AUTH:
        reply = replies.pop(0) if replies else REPLIES[0]
        out.has_request = reply.outcome is Outcome.CONTINUE
        session.on_auth_reply(reply, 1.0)


def visible(out: Recorder) -> list[Any]:
    return out.events


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=chunks(CLIENT_WORDS), replies=st.lists(st.sampled_from(REPLIES), max_size=6), size=st.integers(1, 9)
)
def test_any_client(protocol: str, data: list[bytes], replies: list[Reply], size: int) -> None:
    """P01-P21: whole and cut the outcome is the same; nothing is said after the end (see Recorder)."""
    whole = b"".join(data)
    outcomes = []
    for pieces in ([whole], data, [whole[at : at + size] for at in range(0, len(whole), size)]):
        session, out = start(protocol)
        left = list(replies)
        for piece in pieces:
            session.on_client_data(piece, 1.0)
            answer_auth(session, out, left)
        outcomes.append((visible(out), session.state))
        session.on_client_eof(2.0)
        assert session.state is State.CLOSED
        assert out.is_over
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@settings(max_examples=400, deadline=None)
@given(data=chunks(BACKEND_WORDS))
def test_any_backend(protocol: str, data: list[bytes]) -> None:
    """B03-B19: a backend may say what it likes: the session ends detached, or as commands, and can go on."""
    session, out = start(protocol)
    session.on_client_data(LOGIN[protocol], 1.0)
    answer_auth(session, out, [ACCEPTED])
    assert session.state is State.DIALLING
    for piece in data:
        if session.state not in (State.DIALLING, State.BACKEND):
            break
        session.on_backend_data(piece, 1.0)
    if session.state in (State.DIALLING, State.BACKEND):
        session.on_backend_lost("end of file", 1.0)
    assert session.state in (State.COMMAND, State.DETACHED)
    sent = b"".join(event[1] for event in out.events if event[0] == "B")
    for line in sent.split(b"\r\n"):
        assert b"\n" not in line
        assert b"\0" not in line
    if session.state is State.COMMAND:
        assert not out.has_backend
        session.on_client_data(b"z NOOP\r\n" if protocol == "imap" else b"CAPA\r\n", 2.0)
        assert out.events[-1][0] == "C"
        assert out.events[-1][1].endswith(b"z OK NOOP completed.\r\n" if protocol == "imap" else b".\r\n")


SECURE_WORDS = BACKEND_WORDS | st.sampled_from(
    [
        derived_tag(TAG, b"STARTTLS") + b" OK\r\n",
        derived_tag(TAG, b"CAPABILITY") + b" OK\r\n",
        TAG + b"I OK\r\n",
        b"* OK [CAPABILITY STARTTLS ID SASL-IR]\r\n",
        b"* CAPABILITY ID SASL-IR\r\n",
        b"+OK [XCLIENT] hello\r\n",
        b"+OK\r\n",
        b"+ \r\n",
    ]
)


@pytest.mark.parametrize("fields", [{}, {b"master": b"m"}, {b"proxy_mech": b"XOAUTH2"}])
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@settings(max_examples=200, deadline=None)
@given(data=chunks(SECURE_WORDS), handshakes=st.integers(0, 3))
def test_nothing_secret_in_the_clear(
    protocol: str, fields: dict[bytes, bytes], data: list[bytes], handshakes: int
) -> None:
    """T14 T15: whatever a backend says before TLS, it hears nothing but the wish for TLS."""
    session, out = start(protocol)
    session.on_client_data(LOGIN[protocol], 1.0)
    extra = {b"starttls": b"yes", b"pass": b"geheim", **fields}
    answer_auth(session, out, [Reply(Outcome.OK, 1, {**ACCEPTED.fields, **extra})])
    is_clear = True
    for piece in data:
        if session.state not in (State.DIALLING, State.BACKEND):
            break
        session.on_backend_data(piece, 1.0)
        if is_clear:
            sent = b"".join(event[1] for event in out.events if event[0] == "B")
            wish = derived_tag(TAG, b"STARTTLS") + b" STARTTLS" if protocol == "imap" else b"STLS"
            assert sent in (b"", wish + b"\r\n")
            assert not out.is_over
            if out.events[-1][0] == "backend tls" and handshakes:
                is_clear = False
                session.on_backend_tls_started(1.0)
    if session.state in (State.DIALLING, State.BACKEND):
        session.on_backend_lost("end of file", 1.0)
    assert session.state in (State.COMMAND, State.DETACHED)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@settings(max_examples=300, deadline=None)
@given(
    before=st.binary(max_size=60),
    after=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 300), max_size=6),
    data_behind=st.binary(max_size=200),
)
def test_hand_over(protocol: str, before: bytes, after: bytes, cuts: list[int], data_behind: bytes) -> None:
    """R09: what either peer sent too early is handed over in order, nothing twice and nothing lost."""
    session, out = start(protocol)
    session.on_client_data(LOGIN[protocol] + before, 1.0)
    out.has_request = False
    session.on_auth_reply(Reply(Outcome.OK, 1, {**ACCEPTED.fields, b"pass": b"x"}), 1.0)
    banner = b"* OK\r\n" if protocol == "imap" else b"+OK\r\n"
    session.on_backend_data(banner, 1.0)
    session.on_client_data(after, 1.0)
    if protocol == "pop3":
        session.on_backend_data(b"+OK\r\n", 1.0)
    success = (TAG + b" OK in\r\n" if protocol == "imap" else b"+OK in\r\n") + data_behind
    last = len(success) - len(data_behind)
    borders = [0, *sorted(cut for cut in cuts if 0 < cut < last), len(success)]
    for at, end in pairwise(borders):
        session.on_backend_data(success[at:end], 1.0)
    name, user, to_backend, to_client = out.events[-1]
    assert (name, user) == ("detach", "john")
    assert to_backend == before + after
    assert to_client == (b"a OK in\r\n" if protocol == "imap" else b"+OK in\r\n") + data_behind


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("size", [1, 100, 4096])
def test_flood_while_auth_works(protocol: str, size: int) -> None:
    """P19: a driver that keeps the pause holds no more than one buffer and one read."""
    session, out = start(protocol)
    session.on_client_data(LOGIN[protocol], 1.0)
    fed = 0
    while not out.is_paused:
        session.on_client_data(b"x" * size, 1.0)
        fed += size
        assert fed <= PAUSE_BYTES + size
    out.has_request = False
    session.on_auth_reply(REPLIES[0], 1.0)
    assert session.state is State.CLOSED or not out.is_paused
    session.on_client_data(b"x" * 200, 1.0)
    assert session.state is State.CLOSED, "that is too long for a line"


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("size", [1, 50, 4096])
def test_endless_client_line_is_bounded(protocol: str, size: int) -> None:
    """P02: never more than twice the limit is taken."""
    session, out = start(protocol)
    fed = 0
    while session.state is State.COMMAND:
        session.on_client_data(b"A" * size, 1.0)
        fed += size
    assert fed <= 2 * 8192
    assert out.is_over


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_endless_backend_line_is_bounded(protocol: str) -> None:
    """B05: a backend's line is left at its limit."""
    session, out = start(protocol)
    session.on_client_data(LOGIN[protocol], 1.0)
    answer_auth(session, out, [ACCEPTED])
    fed = 0
    while session.state in (State.DIALLING, State.BACKEND):
        session.on_backend_data(b"A", 1.0)
        fed += 1
    assert fed == BACKEND_LINE_BYTES + 1
