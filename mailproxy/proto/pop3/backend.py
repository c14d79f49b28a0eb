"""The login at a POP3 backend: banner, maybe STLS, USER and PASS or AUTH (RFC 1939, RFC 2595, RFC 5034).

Neither APOP nor an initial response is used; only XCLIENT goes ahead of the login without waiting.
"""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.base.text import printable
from mailproxy.proto import sasl
from mailproxy.proto.backend import Account, Backend, Verdict, refusal_of
from mailproxy.proto.pop3.render import xclient


class Pop3Backend(Backend):
    """See `proto.backend.Backend`. `send` queues bytes for the backend; `tag` exists for IMAP's sake."""

    __slots__ = ("_takes_xclient",)

    def __init__(self, account: Account, tag: bytes, send: Callable[[bytes], None]) -> None:
        Backend.__init__(self, account, send, Pop3Backend._on_banner)
        self._takes_xclient = False

    def _on_banner(self, line: bytes, word: bytes) -> Verdict:
        if word != b"+OK":
            return self._broken(f"Remote returned invalid banner: {printable(line)}")
        self._takes_xclient = line[3:].lstrip(b" ")[:9].upper() == b"[XCLIENT]"
        if not self._account.starttls:
            return self._log_in()
        self._handle = Pop3Backend._on_stls
        return self._ask(b"STLS\r\n")

    def _on_stls(self, line: bytes, word: bytes) -> Verdict:
        if word != b"+OK":
            return self._broken(f"Remote refused STLS, no password was sent: {printable(line)}")
        if self.rest:
            return self._broken("Remote sent data behind its OK to STLS")
        return Verdict.START_TLS

    def on_tls_started(self) -> None:
        """Go on; of the banner only the wish for XCLIENT is believed, which gives no secret away."""
        self._log_in()

    def _log_in(self) -> Verdict:
        account = self._account
        command = b"USER %s\r\n" % account.user
        after = Pop3Backend._on_user
        if account.mechanism:
            command = b"AUTH %s\r\n" % account.mechanism
            after = Pop3Backend._on_auth
        if account.identity is not None and self._takes_xclient:
            self._takes_xclient = False
            after = Pop3Backend._on_xclient
            greeting = xclient(account.identity)
            command = greeting if account.waits_for_replies else greeting + command
        self._handle = after
        return self._ask(command)

    def _on_xclient(self, line: bytes, word: bytes) -> Verdict:
        if word != b"+OK":
            return self._broken(f"Remote refused XCLIENT: {printable(line)}")
        if self._account.waits_for_replies:
            return self._log_in()
        self._handle = Pop3Backend._on_auth if self._account.mechanism else Pop3Backend._on_user
        return Verdict.WAIT

    def _on_user(self, line: bytes, word: bytes) -> Verdict:
        if word != b"+OK":
            return self._no_success(line, word)
        self._handle = Pop3Backend._on_answer
        return self._ask(b"PASS %s\r\n" % self._account.take_password().reveal())

    def _on_answer(self, line: bytes, word: bytes) -> Verdict:
        if word != b"+OK":
            return self._no_success(line, word)
        self.line = line
        return Verdict.ACCEPTED

    def _no_success(self, line: bytes, word: bytes) -> Verdict:
        if word != b"-ERR":
            return self._broken(f"Remote returned an unexpected reply: {printable(line)}")
        self._pieces.clear()
        self.line = line
        self.refusal = refusal_of(line[4:])
        return Verdict.REFUSED

    def _on_auth(self, line: bytes, word: bytes) -> Verdict:
        account = self._account
        if word != b"+":
            what = account.mechanism.decode("ascii")
            return self._broken(f"Remote refused {what}, no password was sent: {printable(line)}")
        messages = sasl.responses(
            account.mechanism, account.user, account.master, account.take_password().reveal()
        )
        self._pieces = [message + b"\r\n" for message in messages]
        self._handle = Pop3Backend._on_challenge
        return self._on_challenge(line, word)

    def _on_challenge(self, line: bytes, word: bytes) -> Verdict:
        if word != b"+":
            if self._pieces and word == b"+OK":
                return self._broken(f"Remote returned an unexpected reply: {printable(line)}")
            return self._on_answer(line, word)
        if sasl.decode(line[2:]) is None:
            return self._broken(f"Remote sent an invalid challenge: {printable(line)}")
        if self._pieces:
            return self._ask(self._pieces.pop(0))
        if self._awaits_error:
            self._awaits_error = False
            return self._ask(b"\r\n")
        return self._broken("Remote asked to continue a complete command")
