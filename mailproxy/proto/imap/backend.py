"""The login at an IMAP backend: banner, maybe STARTTLS, LOGIN or AUTHENTICATE, its answer (RFC 3501).

The login's tag is secret until it is sent, so an OK that was queued behind the banner cannot carry it. What
waits for `+` waits, unless the backend said that it need not: one that refuses a literal would run it as a
command. ID goes ahead of the login without waiting. A client who has asked us is owed the backend's
capability, so one whose banner is silent about it is asked first. Untagged lines are swallowed, except around
STARTTLS, where whoever listens could have put them; everything else that is unexpected ends the attempt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from mailproxy.base.text import printable
from mailproxy.proto import sasl
from mailproxy.proto.backend import Account, Backend, Verdict, refusal_of
from mailproxy.proto.imap.render import (
    LITERAL_MINUS_BYTES,
    authenticate_pieces,
    derived_tag,
    id_command,
    login_pieces,
)

_CAPABILITY_LINE = b"* CAPABILITY "
_BANNER = re.compile(rb"\* OK(?: \[CAPABILITY ([^]]*)| |\Z)", re.IGNORECASE)


# Backends are few, and their versions fewer.
@lru_cache(maxsize=64)
def _read_capability(words: bytes) -> tuple[frozenset[bytes], bytes]:
    """Return the words in upper case, and what of them a client may be told: one line, or nothing."""
    is_one_line = words.isascii() and words.decode("ascii").isprintable()
    return frozenset(words.upper().split(b" ")), words if is_one_line else b""


class ImapBackend(Backend):
    """See `proto.backend.Backend`. `tag` is upper case and used once; `send` queues bytes for the backend."""

    __slots__ = ("_id_tag", "_tag", "_words")

    def __init__(self, account: Account, tag: bytes, send: Callable[[bytes], None]) -> None:
        Backend.__init__(self, account, send, ImapBackend._on_banner)
        self._words: frozenset[bytes] = frozenset()
        self._tag = tag
        self._id_tag = b""

    def _learn(self, words: bytes) -> None:
        self._words, self.capability = _read_capability(words)

    def _on_banner(self, line: bytes, word: bytes) -> Verdict:
        found = _BANNER.match(line)
        if found is None:
            return self._broken(f"Remote returned invalid banner: {printable(line)}")
        words = found[1]
        if words is not None:
            self._words, self.capability = _read_capability(words)
        if not self._account.starttls:
            is_asked = self._account.asks_capability and not self._words
            return self._ask_capability() if is_asked else self._log_in()
        if self._words and b"STARTTLS" not in self._words:
            return self._broken("Remote does not offer STARTTLS, no password was sent")
        self._handle = ImapBackend._on_starttls
        return self._ask(derived_tag(self._tag, b"STARTTLS") + b" STARTTLS\r\n")

    def _on_starttls(self, line: bytes, word: bytes) -> Verdict:
        answer = line[len(word) + 1 :].split(b" ", 1)[0]
        if word != derived_tag(self._tag, b"STARTTLS") or answer.upper() != b"OK":
            return self._broken(f"Remote refused STARTTLS, no password was sent: {printable(line)}")
        if self.rest:
            return self._broken("Remote sent data behind its OK to STARTTLS")
        return Verdict.START_TLS

    def on_tls_started(self) -> None:
        """Ask again what the backend can do: in the clear anyone could have said it."""
        self._words = frozenset()
        self.capability = b""
        self._ask_capability()

    def _ask_capability(self) -> Verdict:
        self._handle = ImapBackend._on_capability
        return self._ask(derived_tag(self._tag, b"CAPABILITY") + b" CAPABILITY\r\n")

    def _on_capability(self, line: bytes, word: bytes) -> Verdict:
        if line[:1] == b"*":
            if line[: len(_CAPABILITY_LINE)].upper() == _CAPABILITY_LINE:
                self._learn(line[len(_CAPABILITY_LINE) :])
            return Verdict.WAIT
        if word != derived_tag(self._tag, b"CAPABILITY"):
            return self._broken(f"Remote returned an unexpected reply: {printable(line)}")
        return self._log_in()

    def _log_in(self) -> Verdict:
        account, words, tag = self._account, self._words, self._tag
        mechanism = account.mechanism
        if b"LOGINDISABLED" in words and (not mechanism or b"AUTH=" + mechanism not in words):
            return self._broken("Remote advertises LOGINDISABLED, no password was sent")
        password = account.take_password().reveal()
        if mechanism:
            messages = sasl.responses(mechanism, account.user, account.master, password)
            self._pieces = authenticate_pieces(tag, mechanism, messages, b"SASL-IR" in words)
        else:
            is_quick = b"LITERAL+" in words or b"LITERAL-" in words
            self._pieces = login_pieces(tag, account.user, password, LITERAL_MINUS_BYTES if is_quick else 0)
        if account.identity is not None and b"ID" in words:
            self._id_tag = tag + b"I"
            command = id_command(self._id_tag, account.identity)
            if account.waits_for_replies:
                self._pieces.insert(0, command)
            else:
                self._pieces[0] = command + self._pieces[0]
        self._handle = ImapBackend._on_line
        return self._ask(self._pieces.pop(0))

    def _on_line(self, line: bytes, word: bytes) -> Verdict:
        if line[:1] == b"*":
            if line[: len(_CAPABILITY_LINE)].upper() == _CAPABILITY_LINE:
                self._learn(line[len(_CAPABILITY_LINE) :])
            return Verdict.WAIT
        if line[:1] == b"+" and not (self._id_tag and self._account.waits_for_replies):
            return self._on_continuation(line[1:].lstrip(b" "))
        if self._id_tag and word == self._id_tag:
            # Whether it cares for our ID is the backend's affair.
            self._id_tag = b""
            if self._account.waits_for_replies:
                return self._ask(self._pieces.pop(0))
            return Verdict.WAIT
        text = line[len(word) + 1 :]
        answer, _, rest = text.partition(b" ")
        answer = answer.upper()
        if word != self._tag or answer not in (b"OK", b"NO", b"BAD"):
            return self._broken(f"Remote returned an unexpected reply: {printable(line)}")
        if self._pieces:
            what = self._account.mechanism.decode("ascii") or "a literal"
            return self._broken(f"Remote refused {what}: {printable(text)}")
        if answer == b"OK":
            self.line = line[len(word) :]
            return Verdict.ACCEPTED
        self.line = text
        self.refusal = refusal_of(rest)
        return Verdict.REFUSED

    def _on_continuation(self, challenge: bytes) -> Verdict:
        if self._account.mechanism and sasl.decode(challenge) is None:
            return self._broken(f"Remote sent an invalid challenge: {printable(challenge)}")
        if self._pieces:
            return self._ask(self._pieces.pop(0))
        if self._awaits_error:
            self._awaits_error = False
            return self._ask(b"\r\n")
        return self._broken("Remote asked to continue a complete command")
