"""The IMAP client before login: commands in, replies out (RFC 3501, RFC 4959, RFC 2971)."""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.base.limits import BAD_COMMANDS, SASL_LINE_BYTES
from mailproxy.proto.frontend import INPUT_FULL, TLS_FIRST, ClientViolation, Face, Refusal, Request
from mailproxy.proto.imap import texts
from mailproxy.proto.imap.parser import (
    CommandReader,
    RawCommand,
    SyntaxFault,
    parse_arguments,
    parse_id,
    read_plain_login,
    split_command,
)
from mailproxy.proto.imap.render import referral_url
from mailproxy.proto.linebuf import LineBuffer, LineTooLong


class ImapFrontend:
    """See `proto.frontend.Frontend`. `send` queues bytes for the client; challenges are POP3's."""

    __slots__ = (
        "_bad",
        "_face",
        "_reader",
        "_send",
        "_tag",
        "buffer",
        "has_asked",
        "mechanism",
        "parameters",
        "password",
        "response",
        "user",
    )

    def __init__(self, face: Face, send: Callable[[bytes], None], _challenge: bytes = b"") -> None:
        self.buffer = LineBuffer()
        self.user = b""
        self.password = b""
        self.mechanism = b""
        self.response: bytes | None = None
        self.parameters: dict[bytes, bytes] = {}
        self._face = face
        self._send = send
        self._reader: CommandReader | None = None
        """Made for the first command that is not a plain LOGIN."""
        self._tag = b""
        self._bad = 0
        self.has_asked = False

    def next_request(self) -> Request:
        """Work through the buffer up to the next request. Raises ClientViolation."""
        while True:
            if self._reader is None or not self._reader.lines:
                login = read_plain_login(self.buffer)
                if login is not None:
                    self._tag, self.user, self.password = login
                    return Request.LOGIN
            if self._reader is None:
                self._reader = CommandReader(self.buffer, self._send)
            command = self._reader.next_command()
            if command is None:
                return Request.NONE
            self._tag, name, at = split_command(command.lines[0])
            handle = _COMMANDS.get(name)
            try:
                if handle is None:
                    raise SyntaxFault
                request = handle(self, command, at)
            except SyntaxFault as fault:
                self._count_bad(fault.text)
                continue
            if request is not Request.NONE:
                return request

    def _count_bad(self, text: bytes) -> None:
        self._bad += 1
        if self._bad >= BAD_COMMANDS:
            raise ClientViolation(texts.TOO_MANY_BAD, texts.TOO_MANY_BAD_REASON)
        self._send(b"%s BAD %s\r\n" % (self._tag or b"*", text))

    def _login(self, command: RawCommand, at: int) -> Request:
        arguments = parse_arguments(command, at)
        if len(arguments) != 2 or arguments[0] is None or arguments[1] is None:
            raise SyntaxFault
        self.user, self.password = arguments[0], arguments[1]
        return Request.LOGIN

    def _authenticate(self, command: RawCommand, at: int) -> Request:
        arguments = parse_arguments(command, at)
        if not 1 <= len(arguments) <= 2 or not arguments[0] or arguments[-1] is None:
            raise SyntaxFault
        self.mechanism = arguments[0]
        self.response = arguments[1] if len(arguments) == 2 else None
        return Request.AUTHENTICATE

    def _logout(self, command: RawCommand, at: int) -> Request:
        _refuse_arguments(command, at)
        return Request.LOGOUT

    def _capability(self, command: RawCommand, at: int) -> Request:
        _refuse_arguments(command, at)
        self.has_asked = True
        self._send(b"%s%s OK Capability completed.\r\n" % (self._face.capability, self._tag))
        return Request.NONE

    def _noop(self, command: RawCommand, at: int) -> Request:
        _refuse_arguments(command, at)
        self._send(self._tag + b" OK NOOP completed.\r\n")
        return Request.NONE

    def _id(self, command: RawCommand, at: int) -> Request:
        self.parameters = parse_id(command, at)
        return Request.IDENTIFY

    def _starttls(self, command: RawCommand, at: int) -> Request:
        _refuse_arguments(command, at)
        if self._face.starttls_refusal:
            raise SyntaxFault(self._face.starttls_refusal)
        return Request.STARTTLS

    def next_sasl_line(self) -> bytes | None:
        """Take a line of a SASL exchange. Raises ClientViolation."""
        try:
            return self.buffer.next_line(SASL_LINE_BYTES + 1)
        except LineTooLong:
            raise ClientViolation(texts.INPUT_FULL, INPUT_FULL) from None

    def forget(self) -> None:
        """Drop what was typed."""
        self.password = b""
        self.response = None

    def challenge(self, challenge: bytes) -> None:
        """Ask the client to go on with SASL."""
        self._send(b"+ %s\r\n" % challenge)

    def refuse(self, refusal: Refusal, text: bytes = b"") -> None:
        """End the command with NO or BAD."""
        self._send(b"%s %s%s\r\n" % (self._tag, texts.REFUSALS[refusal], text or refusal.value))

    def refuse_plaintext(self) -> None:
        """Warn about the password that anyone may have read, and end the command."""
        self._send(texts.PLAINTEXT_ALERT)
        self.refuse(Refusal.PRIVACY, texts.PLAINTEXT_REFUSED)

    def refer(self, user: bytes, mechanism: bytes, host: bytes, port: int, text: bytes) -> bool:
        """End the command with a login referral (RFC 2221)."""
        url = referral_url(user, mechanism, host, port)
        self._send(b"%s NO [REFERRAL %s] %s\r\n" % (self._tag, url, text or texts.REFERRAL))
        return True

    def accept(self, backend_line: bytes, capability: bytes) -> bytes:
        """Return the client's tag with what followed ours in the backend's OK.

        A client who asked for the capability before would go on believing ours. He is told the backend's,
        if the OK does not and the backend has announced any; nothing is invented.
        """
        tagged = b"%s%s\r\n" % (self._tag, backend_line)
        if not self.has_asked or not capability or b"[CAPABILITY " in backend_line[:20].upper():
            return tagged
        return b"* CAPABILITY %s\r\n%s" % (capability, tagged)

    def farewell(self, text: bytes, in_use: bool = False) -> None:
        """Say BYE."""
        self._send(b"* BYE %s\r\n" % text)

    def say_goodbye(self) -> None:
        """Answer LOGOUT."""
        self._send(b"* BYE Logging out\r\n%s OK Logout completed.\r\n" % self._tag)

    def end_identify(self, is_good: bool) -> None:
        """Answer ID."""
        self.parameters = {}
        self._send(b"* ID NIL\r\n%s OK ID completed.\r\n" % self._tag)

    def agree_to_tls(self) -> None:
        """Answer STARTTLS."""
        self._send(b"%s OK %s\r\n" % (self._tag, texts.BEGIN_TLS))

    def refuse_without_tls(self) -> None:
        """End LOGIN or AUTHENTICATE."""
        self.refuse(Refusal.PRIVACY, TLS_FIRST)


def _refuse_arguments(command: RawCommand, at: int) -> None:
    if command.literals or command.lines[0][at:].strip(b" "):
        raise SyntaxFault


_COMMANDS: dict[bytes, Callable[[ImapFrontend, RawCommand, int], Request]] = {
    b"LOGIN": ImapFrontend._login,
    b"AUTHENTICATE": ImapFrontend._authenticate,
    b"CAPABILITY": ImapFrontend._capability,
    b"ID": ImapFrontend._id,
    b"NOOP": ImapFrontend._noop,
    b"LOGOUT": ImapFrontend._logout,
    b"STARTTLS": ImapFrontend._starttls,
}
