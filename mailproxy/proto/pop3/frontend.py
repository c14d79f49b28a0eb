"""The POP3 client before login: commands in, replies out (RFC 1939, RFC 2449, RFC 5034)."""

from __future__ import annotations

import re
from collections.abc import Callable

from mailproxy.base.limits import BAD_COMMANDS
from mailproxy.proto import sasl
from mailproxy.proto.frontend import TLS_FIRST, ClientViolation, Face, Refusal, Request
from mailproxy.proto.linebuf import LineBuffer
from mailproxy.proto.pop3 import texts
from mailproxy.proto.pop3.parser import next_line, split_command

_XCLIENT_NAMES = {
    b"ADDR": b"x-originating-ip",
    b"PORT": b"x-originating-port",
    b"DESTADDR": b"x-connected-ip",
    b"DESTPORT": b"x-connected-port",
    b"SESSION": b"x-session-id",
    b"TTL": b"x-proxy-ttl",
}
_DIGEST = re.compile(rb"[0-9a-fA-F]{32}")
_DIGEST_CHARS = 32


class Pop3Frontend:
    """See `proto.frontend.Frontend`. `challenge` is what the greeting carried for APOP, empty without it."""

    __slots__ = (
        "_bad",
        "_challenge",
        "_face",
        "_send",
        "_waiting_user",
        "buffer",
        "mechanism",
        "parameters",
        "password",
        "response",
        "user",
    )

    has_asked = False

    def __init__(self, face: Face, send: Callable[[bytes], None], challenge: bytes = b"") -> None:
        self.buffer = LineBuffer()
        self.user = b""
        self.password = b""
        self.mechanism = b""
        self.response: bytes | None = None
        self.parameters: dict[bytes, bytes] = {}
        self._face = face
        self._send = send
        self._challenge = challenge
        self._waiting_user: bytes | None = None
        self._bad = 0

    def next_request(self) -> Request:
        """Work through the buffer up to the next request. Raises ClientViolation."""
        while (line := next_line(self.buffer)) is not None:
            if b"\0" in line or b"\r" in line:
                self._count_bad(texts.INVALID_CHARACTERS)
                continue
            word, rest = split_command(line)
            handle = _COMMANDS.get(word)
            if handle is None:
                self._count_bad(texts.UNKNOWN_COMMAND)
                continue
            request = handle(self, rest)
            if request is not Request.NONE:
                return request
        return Request.NONE

    def _count_bad(self, reply: bytes) -> None:
        self._bad += 1
        if self._bad >= BAD_COMMANDS:
            raise ClientViolation(texts.TOO_MANY_BAD, texts.TOO_MANY_BAD_REASON)
        self._send(reply)

    def _user(self, rest: bytes) -> Request:
        if self._face.plaintext_allowed:
            self._waiting_user = rest
            self._send(b"+OK\r\n")
        else:
            self.refuse_plaintext()
        return Request.NONE

    def _pass(self, rest: bytes) -> Request:
        user, self._waiting_user = self._waiting_user, None
        if user is None and self._face.plaintext_allowed:
            self._send(texts.NO_USER)
            return Request.NONE
        self.user, self.password = user or b"", rest
        return Request.LOGIN

    def _apop(self, rest: bytes) -> Request:
        name, _, digest = rest.rpartition(b" ")
        if not self._challenge:
            self._send(texts.NO_APOP)
        elif len(digest) != _DIGEST_CHARS:
            self._send(texts.ARGUMENTS)
        elif _DIGEST.fullmatch(digest) is None:
            self._send(texts.APOP_CHARACTERS)
        else:
            self.response = sasl.apop(self._challenge, name, bytes.fromhex(digest.decode("ascii")))
            return Request.APOP
        return Request.NONE

    def _auth(self, rest: bytes) -> Request:
        mechanism, space, response = rest.rstrip(b" ").partition(b" ")
        if not mechanism:
            self._send(self._face.mechanism_list)
            return Request.NONE
        self.mechanism = mechanism
        self.response = response if space else None
        return Request.AUTHENTICATE

    def _capa(self, rest: bytes) -> Request:
        self._send(self._face.capability)
        return Request.NONE

    def _stls(self, rest: bytes) -> Request:
        if rest:
            self._count_bad(texts.ARGUMENTS)
        elif self._face.starttls_refusal:
            self._send(b"-ERR %s\r\n" % self._face.starttls_refusal)
        else:
            return Request.STARTTLS
        return Request.NONE

    def _xclient(self, rest: bytes) -> Request:
        if not self._face.is_trusted:
            self._send(texts.NOT_TRUSTED)
            return Request.NONE
        pairs = [word.partition(b"=") for word in rest.split(b" ") if word]
        self.parameters = {
            _XCLIENT_NAMES[name]: value
            for word, _, value in pairs
            if (name := word.upper()) in _XCLIENT_NAMES
        }
        return Request.IDENTIFY

    def _quit(self, rest: bytes) -> Request:
        return Request.LOGOUT

    def next_sasl_line(self) -> bytes | None:
        """Take a line of a SASL exchange. Raises ClientViolation."""
        return next_line(self.buffer, is_sasl=True)

    def forget(self) -> None:
        """Drop what was typed."""
        self.password = b""
        self.response = None

    def challenge(self, challenge: bytes) -> None:
        """Ask the client to go on with SASL."""
        self._send(b"+ %s\r\n" % challenge)

    def refuse(self, refusal: Refusal, text: bytes = b"") -> None:
        """End the command with -ERR."""
        self._send(b"%s%s\r\n" % (texts.REFUSALS[refusal], text or refusal.value))

    def refuse_plaintext(self) -> None:
        """End USER or PASS on a connection that anyone may listen to."""
        self.refuse(Refusal.PRIVACY, texts.PLAINTEXT_REFUSED)

    def refer(self, user: bytes, mechanism: bytes, host: bytes, port: int, text: bytes) -> bool:
        """Do nothing: POP3 clients follow no referral."""
        return False

    def accept(self, backend_line: bytes, capability: bytes) -> bytes:
        """Return the backend's line as it is."""
        return backend_line + b"\r\n"

    def farewell(self, text: bytes, in_use: bool = False) -> None:
        """Say why the connection ends."""
        self._send(b"-ERR %s%s\r\n" % (b"[IN-USE] " if in_use else b"", text))

    def say_goodbye(self) -> None:
        """Answer QUIT."""
        self._send(b"+OK Logging out\r\n")

    def end_identify(self, is_good: bool) -> None:
        """Answer XCLIENT."""
        self.parameters = {}
        self._send(texts.UPDATED if is_good else texts.ARGUMENTS)

    def agree_to_tls(self) -> None:
        """Answer STLS."""
        self._send(texts.BEGIN_TLS)

    def refuse_without_tls(self) -> None:
        """End USER, PASS, APOP or AUTH."""
        self.refuse(Refusal.PRIVACY, TLS_FIRST)


_COMMANDS: dict[bytes, Callable[[Pop3Frontend, bytes], Request]] = {
    b"USER": Pop3Frontend._user,
    b"PASS": Pop3Frontend._pass,
    b"AUTH": Pop3Frontend._auth,
    b"APOP": Pop3Frontend._apop,
    b"CAPA": Pop3Frontend._capa,
    b"STLS": Pop3Frontend._stls,
    b"QUIT": Pop3Frontend._quit,
    b"XCLIENT": Pop3Frontend._xclient,
}
