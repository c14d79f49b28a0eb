"""The login at a POP3 backend: banner, USER, PASS (RFC 1939). Neither APOP nor pipelining is used."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from mailproxy.base.secret import Secret
from mailproxy.base.text import printable
from mailproxy.proto.backend import BackendLines, Verdict, refusal_of
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.linebuf import LineBuffer, LineTooLong


class _Step(Enum):
    BANNER = "its greeting is due"
    USER = "its answer to USER is due"
    PASS = "its answer to PASS is due"


class Pop3Backend:
    """See `proto.backend.Backend`. `send` queues bytes for the backend; `tag` exists for IMAP's sake."""

    __slots__ = ("_lines", "_password", "_send", "_step", "_user", "line", "refusal", "why")

    def __init__(self, user: bytes, password: Secret, tag: bytes, send: Callable[[bytes], None]) -> None:
        self.line = b""
        self.refusal = Refusal.TEMPORARY
        self.why = ""
        self._lines = BackendLines()
        self._send = send
        self._step = _Step.BANNER
        self._user = user
        self._password: Secret | None = password

    @property
    def buffer(self) -> LineBuffer:
        """What came behind the last line."""
        return self._lines.buffer

    def on_data(self, data: bytes) -> Verdict:
        """Handle every complete line at once."""
        lines = self._lines
        lines.buffer.feed(data)
        verdict = Verdict.WAIT
        try:
            while verdict is Verdict.WAIT and (line := lines.next_line()) is not None:
                verdict = self._on_line(line)
        except LineTooLong:
            return self._broken("Remote input buffer full")
        return verdict

    def _broken(self, why: str) -> Verdict:
        self._password = None
        self.why = why
        return Verdict.BROKEN

    def _on_line(self, line: bytes) -> Verdict:
        if self._lines.is_early:
            return self._broken(f"Remote answered before it was asked: {printable(line)}")
        word, _, text = line.partition(b" ")
        word = word.upper()
        if self._step is _Step.BANNER:
            if word != b"+OK":
                return self._broken(f"Remote returned invalid banner: {printable(line)}")
            self._step = _Step.USER
            return self._ask(b"USER %s\r\n" % self._user)
        if word == b"-ERR":
            self._password = None
            self.line = line
            self.refusal = refusal_of(text)
            return Verdict.REFUSED
        if word != b"+OK":
            return self._broken(f"Remote returned an unexpected reply: {printable(line)}")
        if self._step is _Step.USER and self._password is not None:
            password, self._password = self._password, None
            self._step = _Step.PASS
            return self._ask(b"PASS %s\r\n" % password.reveal())
        self.line = line
        return Verdict.ACCEPTED

    def _ask(self, command: bytes) -> Verdict:
        self._send(command)
        self._lines.asked()
        return Verdict.WAIT
