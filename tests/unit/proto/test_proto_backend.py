from __future__ import annotations

import pytest

from mailproxy.base.limits import BACKEND_LINE_BYTES, BACKEND_LOGIN_BYTES, BACKEND_LOGIN_LINES
from mailproxy.base.secret import Secret
from mailproxy.proto.backend import Account, Backend, Verdict, refusal_of
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.imap.backend import ImapBackend
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


class Listening(Backend):
    """Takes every line, and asks when it hears `ask`."""

    def __init__(self) -> None:
        super().__init__(Account(b"", Secret(b"")), lambda data: None, Listening.on_line)
        self.lines: list[bytes] = []

    def on_line(self, line: bytes, word: bytes) -> Verdict:
        self.lines.append(line)
        return self._ask(b"") if word == b"ASK" else Verdict.WAIT

    def on_tls_started(self) -> None:
        raise NotImplementedError


def test_lines_are_bounded() -> None:
    """B05: in length, number and sum, complete or not."""
    for data, taken in (
        (b"x" * (BACKEND_LINE_BYTES + 1), 0),
        (b"x" * (BACKEND_LINE_BYTES + 1) + b"\n", 0),
        (b"\n" * (BACKEND_LOGIN_LINES + 1), BACKEND_LOGIN_LINES),
        ((b"x" * 4000 + b"\n") * 17, BACKEND_LOGIN_BYTES // 4001),
    ):
        backend = Listening()
        assert backend.on_data(data) is Verdict.BROKEN
        assert len(backend.lines) == taken
    backend = Listening()
    assert backend.on_data(b"x" * BACKEND_LINE_BYTES) is Verdict.WAIT
    assert backend.on_data(b"\n") is Verdict.WAIT
    assert len(backend.lines) == 1


@pytest.mark.parametrize("pieces", [(b"ask\nearly\r\n",), (b"ask\nhalf", b" of it\n")])
def test_early_lines_are_told(pieces: tuple[bytes, ...]) -> None:
    """B08: what had arrived when a question left cannot be its answer; untagged lines are none."""
    backend = Listening()
    assert backend.on_data(b"ask\n* early\n") is Verdict.WAIT
    assert backend.on_data(b"answer\nask\n") is Verdict.WAIT
    assert backend.lines == [b"ask", b"* early", b"answer", b"ask"]
    assert [backend.on_data(piece) for piece in pieces][-1] is Verdict.BROKEN
    assert backend.why.startswith("Remote answered before it was asked")
    assert len(backend.lines) == 5


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
    assert backend.rest == b"+OK 1\r\n2"
