"""What the login dialogue asks of either protocol on the side of the client."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from mailproxy.proto import sasl
from mailproxy.proto.linebuf import LineBuffer


class Request(Enum):
    """What a client wants that its protocol's frontend cannot answer alone."""

    NONE = "no complete command yet"
    LOGIN = "log in by `user` and `password`"
    AUTHENTICATE = "begin SASL with `mechanism` and `response`"
    APOP = "log in by the digest in `response`"
    LOGOUT = "leave"
    STARTTLS = "begin TLS"
    IDENTIFY = "say who he is, or for whom he speaks, in `parameters`"


class Refusal(Enum):
    """Why a login does not happen, in the words that the client hears by default."""

    CREDENTIALS = b"Authentication failed."
    AUTHORIZATION = b"Authorization failed."
    EXPIRED = b"Password expired."
    DISABLED = b"Account is disabled."
    REASON = b"Login is not allowed."
    """The passdb gave a text for the user."""
    TEMPORARY = b"Temporary authentication failure."
    IN_USE = b"Mailbox is in use, try again later."
    LIMIT = b"Too many connections, try again later."
    PERMANENT = b"Mailbox cannot be opened, contact your administrator."
    PRIVACY = b"Plaintext authentication disabled."
    UNSUPPORTED = b"Unsupported authentication mechanism."
    ABORTED = b"Authentication aborted"
    ENCODING = b"Invalid base64 data in response."


class ClientViolation(Exception):
    """The client broke the protocol for good: say `farewell`, log `reason`, close."""

    def __init__(self, farewell: bytes, reason: str) -> None:
        super().__init__(reason)
        self.farewell = farewell
        self.reason = reason


def check_response(response: bytes | None, mechanism: bytes, is_plaintext: bool) -> Refusal | None:
    """Say what is wrong with a SASL response: its base64, or a password that no backend can be given."""
    if not response:
        return None
    message = sasl.decode(response)
    if message is None:
        return Refusal.ENCODING
    # NUL separates the words of PLAIN, which auth counts; other mechanisms' messages are no passwords.
    if is_plaintext and sasl.breaks_line(message.replace(b"\0", b"") if mechanism == sasl.PLAIN else message):
        return Refusal.CREDENTIALS
    return None


INPUT_FULL = "Input buffer full"
TLS_FIRST = b"Authentication not allowed until SSL/TLS is enabled."
TLS_ACTIVE = b"TLS is already active."
TLS_MISSING = b"TLS support isn't enabled."


class Face:
    """What the client may be told, computed once a worker for each kind of connection."""

    __slots__ = (
        "capability",
        "greeting",
        "is_trusted",
        "login_allowed",
        "mechanism_list",
        "plaintext_allowed",
        "starttls_refusal",
    )

    def __init__(
        self,
        greeting: bytes,
        capability: bytes,
        mechanism_list: bytes,
        *,
        plaintext_allowed: bool,
        login_allowed: bool,
        starttls_refusal: bytes,
        is_trusted: bool,
    ) -> None:
        self.greeting = greeting
        """A whole line, with its end."""
        self.capability = capability
        """The whole untagged reply to CAPABILITY or CAPA."""
        self.mechanism_list = mechanism_list
        """The whole reply to a bare AUTH; POP3 only."""
        self.plaintext_allowed = plaintext_allowed
        """Whether passwords may cross this connection readable."""
        self.login_allowed = login_allowed
        """Whether any login may be tried before TLS."""
        self.starttls_refusal = starttls_refusal
        """Why TLS cannot begin; empty if it can."""
        self.is_trusted = is_trusted
        """Whether the client may say for whom he speaks."""


class Frontend(Protocol):
    """Reads commands and answers what needs no login; the methods that reply send to the client at once."""

    buffer: LineBuffer
    user: bytes
    password: bytes
    mechanism: bytes
    parameters: dict[bytes, bytes]
    """Lower-case names of ID; XCLIENT is translated."""
    response: bytes | None
    """Base64 as typed; None if the client sent no initial response."""

    @property
    def has_asked(self) -> bool:
        """Whether the client goes by our capability until he is told the backend's; never so on POP3."""

    def next_request(self) -> Request:
        """Work through the buffer up to the next request. Raises ClientViolation."""

    def next_sasl_line(self) -> bytes | None:
        """Take a line of a SASL exchange, None if it is not complete. Raises ClientViolation."""

    def forget(self) -> None:
        """Drop what was typed: the password is with auth now."""

    def challenge(self, challenge: bytes) -> None:
        """Ask the client to go on with SASL; `challenge` is base64."""

    def refuse(self, refusal: Refusal, text: bytes = b"") -> None:
        """End the command; `text` replaces the default words and holds no line end."""

    def refuse_plaintext(self) -> None:
        """End a LOGIN or PASS on a connection that anyone may listen to."""

    def refer(self, user: bytes, mechanism: bytes, host: bytes, port: int, text: bytes) -> bool:
        """End the command with the place where to log in instead; False if the protocol has no such reply."""

    def accept(self, backend_line: bytes, capability: bytes) -> bytes:
        """Return the client's OK, made of what the backend said; `capability` is what it announced."""

    def farewell(self, text: bytes, in_use: bool = False) -> None:
        """Say why the connection is closed; `in_use` if trying again soon may help."""

    def say_goodbye(self) -> None:
        """Answer the LOGOUT or QUIT that was read last."""

    def end_identify(self, is_good: bool) -> None:
        """Answer the ID or XCLIENT that was read last; `is_good` if a proxy's words make sense."""

    def agree_to_tls(self) -> None:
        """Answer the STARTTLS or STLS that was read last."""

    def refuse_without_tls(self) -> None:
        """End a login on a connection where none is allowed before TLS."""
