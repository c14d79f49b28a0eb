"""What holds for every login of a worker, computed once when auth has introduced itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from mailproxy.base.secret import Secret
from mailproxy.ipc.auth_protocol import Mechanism
from mailproxy.proto import sasl
from mailproxy.proto.backend import Backend
from mailproxy.proto.frontend import Face, Frontend
from mailproxy.proto.imap import render as imap
from mailproxy.proto.imap.backend import ImapBackend
from mailproxy.proto.imap.frontend import ImapFrontend
from mailproxy.proto.pop3 import render as pop3
from mailproxy.proto.pop3.backend import Pop3Backend
from mailproxy.proto.pop3.frontend import Pop3Frontend
from mailproxy.session.log_line import LogLine

Send = Callable[[bytes], None]


class LoginProtocol(Enum):
    """The value is the setting's word, which is also auth's `service`."""

    IMAP = "imap"
    POP3 = "pop3"


class Policy:
    """Immutable after construction and shared by all sessions of a worker."""

    __slots__ = (
        "apop_offered",
        "backend_port",
        "face_secured",
        "face_unsecured",
        "host_name",
        "log_line",
        "login_timeout_s",
        "mechanisms",
        "name",
        "protocol",
        "proxy_timeout_s",
        "verbose",
    )

    def __init__(
        self,
        protocol: LoginProtocol,
        mechanisms: Sequence[Mechanism],
        *,
        greeting: str,
        greeting_capability: bool,
        capability: str,
        disable_plaintext_auth: bool,
        login_timeout_s: float,
        proxy_timeout_s: float,
        log_format_elements: str,
        log_format: str,
        verbose: bool,
        host_name: str,
    ) -> None:
        """Take auth's mechanisms in its order, and the settings under Dovecot's names.

        `capability` is the fixed part of the list; `host_name` goes into APOP challenges.
        """
        self.protocol = protocol
        self.name = protocol.name
        """`IMAP` or `POP3`, `%s` of a login line."""
        self.mechanisms = {mechanism.name.upper(): mechanism for mechanism in mechanisms}
        self.apop_offered = protocol is LoginProtocol.POP3 and sasl.APOP in self.mechanisms
        """Whether a session should be given a challenge, `<pid.id.time.random@host_name>`."""
        self.backend_port = 143 if protocol is LoginProtocol.IMAP else 110
        self.login_timeout_s = login_timeout_s
        self.proxy_timeout_s = proxy_timeout_s
        self.verbose = verbose
        self.host_name = host_name
        self.log_line = LogLine(log_format_elements, log_format)
        words = greeting.encode("utf-8", "surrogateescape")
        fixed = capability.encode("ascii", "replace")
        make = self._imap_face if protocol is LoginProtocol.IMAP else self._pop3_face
        self.face_secured = make(words, fixed, True, greeting_capability)
        self.face_unsecured = make(words, fixed, not disable_plaintext_auth, greeting_capability)

    def _offered(self, plaintext_allowed: bool) -> list[bytes]:
        return [
            name
            for name, mechanism in self.mechanisms.items()
            if not mechanism.is_private and (plaintext_allowed or not mechanism.is_plaintext)
        ]

    def _imap_face(self, greeting: bytes, fixed: bytes, plaintext_allowed: bool, in_greeting: bool) -> Face:
        words = imap.capability(fixed, self._offered(plaintext_allowed), not plaintext_allowed)
        code = b"[CAPABILITY %s] " % words if in_greeting else b""
        return Face(
            b"* OK %s%s\r\n" % (code, greeting), b"* CAPABILITY %s\r\n" % words, b"", plaintext_allowed
        )

    def _pop3_face(self, greeting: bytes, fixed: bytes, plaintext_allowed: bool, in_greeting: bool) -> Face:
        names = self._offered(plaintext_allowed)
        user_allowed = plaintext_allowed and sasl.PLAIN in self.mechanisms
        return Face(
            b"+OK %s\r\n" % greeting,
            pop3.capability(fixed, names, user_allowed),
            pop3.mechanism_list(names),
            plaintext_allowed,
        )

    def frontend(self, face: Face, send: Send, apop_challenge: bytes) -> Frontend:
        """Make the side of the client."""
        if self.protocol is LoginProtocol.IMAP:
            return ImapFrontend(face, send)
        return Pop3Frontend(face, send, apop_challenge)

    def backend(self, user: bytes, password: Secret, tag: bytes, send: Send) -> Backend:
        """Make the side of the backend."""
        if self.protocol is LoginProtocol.IMAP:
            return ImapBackend(user, password, tag, send)
        return Pop3Backend(user, password, tag, send)
