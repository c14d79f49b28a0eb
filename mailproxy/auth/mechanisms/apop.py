"""POP3's APOP, brought to auth as a mechanism that is never announced. Source: RFC 1939 section 7."""

from __future__ import annotations

import hashlib
import hmac

from mailproxy.auth.mechanisms.claim import Claim, Context
from mailproxy.auth.schemes import StoredPassword, Verdict


class Apop:
    """One message: the greeting's challenge, NUL, user, NUL, 16 bytes of MD5."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Take the message if its challenge was made for this connection of this process."""
        parts = (response or b"").split(b"\0", 2)
        if len(parts) != 3 or len(parts[2]) != 16 or not self._is_ours(parts[0]):
            return None
        return Claim(parts[1], b"", None, _ApopProof(parts[0], parts[2]))

    def _is_ours(self, challenge: bytes) -> bool:
        """Check `<pid.connection.time.random@host>`, the first three hexadecimal: no replay elsewhere."""
        parts = challenge.removeprefix(b"<").split(b".", 3)
        if len(parts) != 4 or challenge[:1] != b"<" or challenge[-1:] != b">":
            return False
        try:
            pid, connection, at = (int(part, 16) for part in parts[:3])
        except ValueError:
            return False
        context = self._context
        return pid == context.server_pid and connection == context.connection_id and at >= context.started_at


class _ApopProof:
    __slots__ = ("_challenge", "_digest", "scheme")

    def __init__(self, challenge: bytes, digest: bytes) -> None:
        self.scheme = "PLAIN"
        self._challenge = challenge
        self._digest = digest

    def verify(self, stored: StoredPassword) -> Verdict | None:
        if stored.scheme not in ("PLAIN", "CLEARTEXT", "CLEAR"):
            return None
        expected = hashlib.md5(self._challenge + stored.data).digest()
        return Verdict.MATCH if hmac.compare_digest(expected, self._digest) else Verdict.MISMATCH

    def final_challenge(self) -> bytes:
        return b""
