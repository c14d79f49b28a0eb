"""What the login dialogue asks of either protocol on the side of the backend."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from mailproxy.base.limits import BACKEND_LINE_BYTES, BACKEND_LOGIN_BYTES, BACKEND_LOGIN_LINES
from mailproxy.base.secret import Secret
from mailproxy.proto.frontend import Refusal
from mailproxy.proto.linebuf import LineBuffer, LineTooLong


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
        *,
        master: bytes = b"",
        mechanism: bytes = b"",
        starttls: bool = False,
        identity: Identity | None = None,
        waits_for_replies: bool = False,
    ) -> None:
        """Take values without CR, LF or NUL."""
        self.user = user
        self._password: Secret | None = password
        self.master = master
        """Whose password it is, if not the user's."""
        self.mechanism = mechanism
        """Upper case; empty for LOGIN or USER and PASS."""
        self.starttls = starttls
        self.identity = identity
        self.waits_for_replies = waits_for_replies
        """Whether each command waits for the answer to the one before (`proxy_nopipelining`)."""
        self.asks_capability = False
        """Whether a backend is asked for its capability if the banner does not have it."""

    def take_password(self) -> Secret:
        """Return the password, once; the caller sends it to the backend or drops it."""
        password, self._password = self._password, None
        if password is None:
            raise RuntimeError("BUG: a password was taken twice")
        return password


class Backend(Protocol):
    """One login at one backend. After REFUSED, ACCEPTED and BROKEN nothing more is fed."""

    line: bytes
    refusal: Refusal
    why: str
    capability: bytes
    """What the backend announced last, as it stood there; empty if nothing, and on POP3."""

    @property
    def buffer(self) -> LineBuffer:
        """What came behind the last line that was handled."""

    def on_data(self, data: bytes) -> Verdict:
        """Handle every complete line at once."""

    def on_tls_started(self) -> None:
        """Go on within TLS; what was learnt in the clear is forgotten."""


class BackendLines:
    """The lines that a backend may say before the login, bounded in length, number and sum.

    A backend answers when it was asked. Whatever had arrived when a question left cannot be its answer
    (a success line queued behind the banner); `is_early` says so of the line taken last. Cut differently by
    the network the same bytes may look honest: the secret tag of IMAP guards that case.
    """

    __slots__ = ("_budget_bytes", "_early_bytes", "_lines", "buffer", "is_early")

    def __init__(self) -> None:
        self.buffer = LineBuffer()
        self.is_early = False
        self._early_bytes = 0
        self._lines = 0
        self._budget_bytes = BACKEND_LOGIN_BYTES

    def asked(self) -> None:
        """Note that a question was sent just now."""
        self._early_bytes = len(self.buffer)

    def next_line(self) -> bytes | None:
        """Take the next line. Raises LineTooLong if one line, their number or their sum passes a limit."""
        early_bytes = self._early_bytes
        before = len(self.buffer) if early_bytes > 0 else 0
        line = self.buffer.next_line(BACKEND_LINE_BYTES)
        if line is None:
            return None
        self._lines += 1
        self._budget_bytes -= len(line) + 1
        if self._lines > BACKEND_LOGIN_LINES or self._budget_bytes < 0:
            raise LineTooLong
        self.is_early = before > 0
        if before:
            self._early_bytes = early_bytes - before + len(self.buffer)
        return line


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
