"""Asking a POP3 backend what it can do, without logging in: banner, maybe STLS, CAPA, QUIT (RFC 2449)."""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.base.secret import Secret
from mailproxy.base.text import printable
from mailproxy.proto.backend import Account, Verdict
from mailproxy.proto.pop3.backend import Pop3Backend


class Pop3Probe(Pop3Backend):
    """Accepted when `announced` is known; it has no password that it could send."""

    __slots__ = ("_words", "announced")

    def __init__(self, starttls: bool, tag: bytes, send: Callable[[bytes], None]) -> None:
        super().__init__(Account(b"", Secret(b""), starttls=starttls), tag, send)
        self._words: list[bytes] = []
        self.announced: frozenset[bytes] | None = None
        """The first word of each line, upper case; None if it does not know CAPA, which tells nothing."""

    def _log_in(self) -> Verdict:
        """Ask, where a login would begin."""
        self._handle = Pop3Probe._on_capa
        return self._ask(b"CAPA\r\n")

    def _on_capa(self, line: bytes, word: bytes) -> Verdict:
        if word == b"-ERR":
            return self._leave()
        if word != b"+OK":
            return self._broken(f"Remote returned an unexpected reply: {printable(line)}")
        self._handle = Pop3Probe._on_words
        return Verdict.WAIT

    def _on_words(self, line: bytes, word: bytes) -> Verdict:
        if line != b".":
            self._words.append(word)
            return Verdict.WAIT
        self.announced = frozenset(self._words)
        return self._leave()

    def _leave(self) -> Verdict:
        self._send(b"QUIT\r\n")
        return Verdict.ACCEPTED
