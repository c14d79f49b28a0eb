"""SASL CRAM-MD5. Source: RFC 2195."""

from __future__ import annotations

import binascii
import hmac
import secrets
import time

from mailproxy.auth.md5_state import hmac_md5_from_context
from mailproxy.auth.mechanisms.claim import Claim, Context
from mailproxy.auth.schemes import StoredPassword, Verdict

_PLAINTEXT = ("PLAIN", "CLEARTEXT", "CLEAR")


class CramMd5:
    """A challenge, then `user SP hex-digest`; the user name may contain spaces."""

    __slots__ = ("_challenge", "_context")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._challenge = b""

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Send the challenge, then read the answer. The server speaks first, so initial data is refused."""
        if not self._challenge:
            if response:
                return None
            digits = secrets.randbelow(10**16)
            self._challenge = b"<%016d.%d@%s>" % (digits, int(time.time()), self._context.hostname)
            return self._challenge
        user, space, digest = (response or b"").rpartition(b" ")
        try:
            raw = binascii.unhexlify(digest)
        except ValueError:
            return None
        if not space or len(raw) != 16:
            return None
        return Claim(user, b"", None, _CramProof(self._challenge, raw))


class _CramProof:
    __slots__ = ("_challenge", "_digest", "scheme")

    def __init__(self, challenge: bytes, digest: bytes) -> None:
        self.scheme = "CRAM-MD5"
        self._challenge = challenge
        self._digest = digest

    def verify(self, stored: StoredPassword) -> Verdict | None:
        if stored.scheme in _PLAINTEXT:
            expected = hmac.digest(stored.data, self._challenge, "md5")
        elif stored.scheme in ("CRAM-MD5", "HMAC-MD5"):
            try:
                context = binascii.unhexlify(stored.data)
            except ValueError:
                return Verdict.UNUSABLE
            if len(context) != 32:
                return Verdict.UNUSABLE
            expected = hmac_md5_from_context(context, self._challenge)
        else:
            return None
        return Verdict.MATCH if hmac.compare_digest(expected, self._digest) else Verdict.MISMATCH

    def final_challenge(self) -> bytes:
        return b""
