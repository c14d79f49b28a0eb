"""What the login dialogue asks of either protocol on the side of the backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from mailproxy.base.limits import BACKEND_LINE_BYTES, BACKEND_LOGIN_BYTES, BACKEND_LOGIN_LINES
from mailproxy.base.secret import Secret
from mailproxy.base.text import printable
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.sasl import OAUTH


class Verdict(Enum):
    """Where a login at the backend stands."""

    WAIT = "its next line is due"
    ACCEPTED = "`line` is its OK, the bytes behind it are in `buffer`"
    REFUSED = "it said no: `refusal` for the client, `line` for the log"
    BROKEN = "it cannot be used: `why` for the log"
    START_TLS = "it agreed to TLS: begin, and tell `on_tls_started`; until then it has nothing to say"


class Identity(NamedTuple):
    """For whom we speak, told to backends that ask. Each value is one word without quotes or backslashes."""

    session_id: bytes
    """May be empty."""
    originating_ip: bytes
    originating_port: int
    connected_ip: bytes
    connected_port: int
    ttl: int
    """How many more proxies may pass the login on."""


class Account:
    """Who logs in at a backend, and how; shared by all tries, of which one takes the password."""

    # fmt: off
    __slots__ = (
        "_password",
        "asks_capability",
        "identity",
        "master",
        "mechanism",
        "starttls",
        "user",
        "waits_for_replies",
    )
    # fmt: on

    def __init__(
        self,
        user: bytes,
        password: Secret,
        starttls: bool = False,
        identity: Identity | None = None,
    ) -> None:
        """Take values without CR, LF or NUL."""
        self.user = user
        self._password: Secret | None = password
        self.master = b""
        """Whose password it is, if not the user's."""
        self.mechanism = b""
        """Upper case; empty for LOGIN or USER and PASS."""
        self.starttls = starttls
        self.identity = identity
        self.waits_for_replies = False
        """Whether each command waits for the answer to the one before (`proxy_nopipelining`)."""
        self.asks_capability = False
        """Whether a backend is asked for its capability if the banner does not have it."""

    def take_password(self) -> Secret:
        """Return the password, once; the caller sends it to the backend or drops it."""
        password, self._password = self._password, None
        if password is None:
            raise RuntimeError("BUG: a password was taken twice")
        return password


class Backend(ABC):
    """One login at one backend, line by line; what a line means a protocol's subclass knows.

    After REFUSED, ACCEPTED and BROKEN nothing more is fed. Lines are bounded in length, number and sum.

    A backend answers when it was asked. Whatever had arrived when a question left cannot be its answer
    (a success line queued behind the banner). Cut differently by the network the same bytes may look honest:
    the secret tag of IMAP guards that case.
    """

    # fmt: off
    __slots__ = (
        "_account", "_awaits_error", "_budget_bytes", "_budget_lines", "_early_bytes", "_handle", "_pieces",
        "_send", "capability", "line", "refusal", "rest", "why",
    )
    # fmt: on

    def __init__(self, account: Account, send: Callable[[bytes], None], on_banner: Handle) -> None:
        """Log in there with `account`; `send` queues bytes for the backend."""
        self.line = b""
        """Of IMAP's OK what follows the tag; else the whole line."""
        self.refusal = Refusal.TEMPORARY
        self.why = ""
        self.capability = b""
        """What the backend announced last, as it stood there; empty if nothing, and on POP3."""
        self.rest = b""
        """What came behind the last line that was handled."""
        self._account = account
        self._send = send
        self._handle = on_banner
        self._awaits_error = account.mechanism in OAUTH
        self._pieces: list[bytes] = []
        self._early_bytes = 0
        """How much of the rest had arrived when the last question left; less than nothing later on."""
        self._budget_lines = BACKEND_LOGIN_LINES
        self._budget_bytes = BACKEND_LOGIN_BYTES

    def on_data(self, data: bytes) -> Verdict:
        """Handle every complete line at once."""
        rest = self.rest + data
        while True:
            line, end, rest = rest.partition(b"\n")
            size_bytes = len(line) + 1
            if not end:
                self.rest = line
                return self._broken(_TOO_MUCH) if size_bytes > _SIZE_BYTES else Verdict.WAIT
            self.rest = rest
            self._budget_lines -= 1
            self._budget_bytes -= size_bytes
            if size_bytes > _SIZE_BYTES or self._budget_lines < 0 or self._budget_bytes < 0:
                return self._broken(_TOO_MUCH)
            line = line.removesuffix(b"\r")
            if self._early_bytes > 0:
                self._early_bytes -= size_bytes
                if line[:1] != b"*":  # What IMAP tells without being asked comes when it likes.
                    return self._broken(f"Remote answered before it was asked: {printable(line)}")
            verdict = self._handle(self, line, line.partition(b" ")[0].upper())
            if verdict is not Verdict.WAIT:
                return verdict

    @abstractmethod
    def on_tls_started(self) -> None:
        """Go on within TLS; what was learnt in the clear is forgotten."""

    def _ask(self, command: bytes) -> Verdict:
        self._send(command)
        self._early_bytes = len(self.rest)
        return Verdict.WAIT

    def _broken(self, why: str) -> Verdict:
        self._pieces.clear()
        self.why = why
        return Verdict.BROKEN


Handle = Callable[[Any, bytes, bytes], Verdict]
"""A method of a Backend for the next line: the line without its end, and its first word in upper case."""

_SIZE_BYTES = BACKEND_LINE_BYTES + 1
_TOO_MUCH = "Remote input buffer full"


_TEMPORARY_CODES = {
    b"UNAVAILABLE": Refusal.TEMPORARY,
    b"SYS/TEMP": Refusal.TEMPORARY,
    b"SERVERBUG": Refusal.TEMPORARY,
    b"PRIVACYREQUIRED": Refusal.TEMPORARY,
    b"LOGIN-DELAY": Refusal.TEMPORARY,
    b"INUSE": Refusal.IN_USE,
    b"IN-USE": Refusal.IN_USE,
    b"LIMIT": Refusal.LIMIT,
    b"CONTACTADMIN": Refusal.PERMANENT,
    b"SYS/PERM": Refusal.PERMANENT,
    b"EXPIRED": Refusal.EXPIRED,
}


def refusal_of(text: bytes) -> Refusal:
    """Say what a backend's NO or -ERR means for the client; `text` is what follows that word.

    Only response codes count (RFC 5530, RFC 2449, RFC 3206). Without one it is a wrong password, in our own
    words: a backend that tells *no such user* from *bad password* would tell it through us.
    """
    text = text.lstrip(b" ")
    if not text.startswith(b"["):
        return Refusal.CREDENTIALS
    code = text[1:].partition(b"]")[0].partition(b" ")[0]
    return _TEMPORARY_CODES.get(code.upper(), Refusal.CREDENTIALS)
