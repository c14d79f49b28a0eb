from __future__ import annotations

import pytest

from mailproxy.base.limits import BACKEND_LINE_BYTES, BACKEND_LOGIN_BYTES, BACKEND_LOGIN_LINES
from mailproxy.base.secret import Secret
from mailproxy.proto.backend import Account, BackendLines, Verdict, refusal_of
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.imap.backend import ImapBackend
from mailproxy.proto.linebuf import LineTooLong
from mailproxy.proto.pop3.backend import Pop3Backend


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (b"", Refusal.CREDENTIALS),
        (b"bad password [UNAVAILABLE]", Refusal.CREDENTIALS),
        (b"[AUTHENTICATIONFAILED] x", Refusal.CREDENTIALS),
        (b"[unavailable]", Refusal.TEMPORARY),
        (b" [SYS/TEMP] x", Refusal.TEMPORARY),
        (b"[INUSE x] y", Refusal.IN_USE),
        (b"[IN-USE]", Refusal.IN_USE),
        (b"[LIMIT]", Refusal.LIMIT),
        (b"[SYS/PERM]", Refusal.PERMANENT),
        (b"[UNAVAILABLE", Refusal.TEMPORARY),
        (b"[REFERRAL imap://x/]", Refusal.CREDENTIALS),
    ],
)
def test_refusal_of(text: bytes, refusal: Refusal) -> None:
    """B13 B14: only response codes tell temporary from wrong."""
    assert refusal_of(text) is refusal


def test_lines_are_bounded() -> None:
    """B05: in length, number and sum."""
    for data, taken in (
        (b"x" * (BACKEND_LINE_BYTES + 1), 0),
        (b"\n" * (BACKEND_LOGIN_LINES + 1), BACKEND_LOGIN_LINES),
        ((b"x" * 4000 + b"\n") * 17, BACKEND_LOGIN_BYTES // 4001),
    ):
        lines = BackendLines()
        lines.buffer.feed(data)
        for _ in range(taken):
            assert lines.next_line() is not None
        with pytest.raises(LineTooLong):
            lines.next_line()


def test_early_lines_are_told() -> None:
    """B08: what had arrived when a question left cannot be its answer."""
    lines = BackendLines()
    lines.buffer.feed(b"banner\nearly\nhalf")
    assert lines.next_line() == b"banner"
    assert not lines.is_early
    lines.asked()
    lines.buffer.feed(b" of it\nanswer\n")
    early = []
    while lines.next_line() is not None:
        early.append(lines.is_early)
    assert early == [True, True, False]


def test_imap_secret_goes_with_its_last_piece() -> None:
    """C07: nothing is sent after a refusal, and the dialogue holds no secret any more."""
    sent: list[bytes] = []
    backend = ImapBackend(Account(b"john", Secret(b'se"cret')), b"T", sent.append)
    assert backend.on_data(b"* OK\r\n") is Verdict.WAIT
    assert sent == [b'T LOGIN "john" {7}\r\n']
    assert backend.on_data(b"T NO\r\n") is Verdict.BROKEN
    assert len(sent) == 1
    assert all("cret" not in repr(getattr(backend, name, None)) for name in ("_pieces", "why", "line"))


def test_pop3_keeps_what_follows() -> None:
    """B10: the bytes behind OK stay in the buffer."""
    sent: list[bytes] = []
    backend = Pop3Backend(Account(b"john", Secret(b"x")), b"", sent.append)
    for data in (b"+OK\r\n", b"+OK\r\n"):
        assert backend.on_data(data) is Verdict.WAIT
    assert backend.on_data(b"+OK in\r\n+OK 1\r\n2") is Verdict.ACCEPTED
    assert sent == [b"USER john\r\n", b"PASS x\r\n"]
    assert backend.line == b"+OK in"
    assert backend.buffer.take_rest() == b"+OK 1\r\n2"
