"""The login at an IMAP backend: banner, LOGIN, its tagged answer (RFC 3501).

The tag is secret until it is sent, so an OK that was queued behind the banner cannot carry it. A literal
waits for `+`, unless the banner says that it need not: a backend that refuses a literal would run it as a
command. Untagged lines are swallowed; everything else that is unexpected ends the attempt.
"""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.base.secret import Secret
from mailproxy.base.text import printable
from mailproxy.proto.backend import BackendLines, Verdict, refusal_of
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.imap.render import LITERAL_MINUS_BYTES, login_pieces
from mailproxy.proto.linebuf import LineBuffer, LineTooLong


class ImapBackend:
    """See `proto.backend.Backend`. `tag` is upper case and used once; `send` queues bytes for the backend."""

    __slots__ = ("_lines", "_password", "_pieces", "_send", "_tag", "_user", "line", "refusal", "why")

    def __init__(self, user: bytes, password: Secret, tag: bytes, send: Callable[[bytes], None]) -> None:
        self.line = b""
        """Of an OK what follows the tag; else the whole line."""
        self.refusal = Refusal.TEMPORARY
        self.why = ""
        self._lines = BackendLines()
        self._send = send
        self._tag = tag
        self._user = user
        self._password: Secret | None = password
        self._pieces: list[bytes] = []

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
                verdict = (
                    self._on_line(line) if self._password is None else self._on_banner(line, self._password)
                )
        except LineTooLong:
            return self._broken("Remote input buffer full")
        return verdict

    def _broken(self, why: str) -> Verdict:
        self._pieces.clear()
        self.why = why
        return Verdict.BROKEN

    def _on_banner(self, line: bytes, password: Secret) -> Verdict:
        words = line.split(b" ", 2)
        self._password = None
        if words[0] != b"*" or len(words) < 2 or words[1].upper() != b"OK":
            return self._broken(f"Remote returned invalid banner: {printable(line)}")
        capabilities = _banner_capabilities(words[2]) if len(words) == 3 else []
        if b"LOGINDISABLED" in capabilities:
            return self._broken("Remote advertises LOGINDISABLED, no password was sent")
        literal_bytes = 0
        if b"LITERAL+" in capabilities or b"LITERAL-" in capabilities:
            literal_bytes = LITERAL_MINUS_BYTES
        self._pieces = login_pieces(self._tag, self._user, password.reveal(), literal_bytes)
        self._send_piece()
        return Verdict.WAIT

    def _send_piece(self) -> None:
        self._send(self._pieces.pop(0))
        self._lines.asked()

    def _on_line(self, line: bytes) -> Verdict:
        if line[:1] == b"*":
            return Verdict.WAIT
        if self._lines.is_early:
            return self._broken(f"Remote answered before it was asked: {printable(line)}")
        if line[:1] == b"+":
            if not self._pieces:
                return self._broken("Remote asked to continue a complete command")
            self._send_piece()
            return Verdict.WAIT
        tag, _, text = line.partition(b" ")
        word, _, rest = text.partition(b" ")
        word = word.upper()
        if tag.upper() != self._tag or word not in (b"OK", b"NO", b"BAD"):
            return self._broken(f"Remote returned an unexpected reply: {printable(line)}")
        if self._pieces:
            return self._broken(f"Remote refused a literal: {printable(text)}")
        if word == b"OK":
            self.line = line[len(tag) :]
            return Verdict.ACCEPTED
        self.line = text
        self.refusal = refusal_of(rest)
        return Verdict.REFUSED


def _banner_capabilities(text: bytes) -> list[bytes]:
    if text[:12].upper() != b"[CAPABILITY ":
        return []
    return text[12:].partition(b"]")[0].upper().split(b" ")
