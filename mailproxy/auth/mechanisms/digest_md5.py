"""SASL DIGEST-MD5, quality of protection `auth` only. Source: RFC 2831."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from mailproxy.auth.mechanisms.claim import Claim, Context
from mailproxy.auth.schemes import StoredPassword, Verdict

_NONCE_COUNT = b"00000001"
_DIRECTIVE = re.compile(
    rb'[ \t,]*([a-zA-Z0-9-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))[ \t]*(?=,|$)'
)
_MAX_BYTES = 4096


class DigestMd5:
    """A challenge with a fresh nonce, then the client's directives; no reauthentication."""

    __slots__ = ("_context", "_nonce")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._nonce = b""

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Send the challenge, then check all that can be checked without the password."""
        if not self._nonce:
            # An initial response would be a reauthentication, which RFC 2831 lets us refuse by a challenge.
            self._nonce = secrets.token_urlsafe(24).encode()
            realms = b"".join(b'realm="%s",' % realm for realm in self._context.realms or (b"",))
            return b'%snonce="%s",qop="auth",charset="utf-8",algorithm="md5-sess"' % (realms, self._nonce)
        given = _directives(response or b"")
        if given is None or not self._is_acceptable(given):
            return None
        user, realm = given[b"username"], given.get(b"realm", b"")
        name = user + b"@" + realm if realm else user
        return Claim(name, b"", None, _DigestProof(given, user, realm))

    def _is_acceptable(self, given: dict[bytes, bytes]) -> bool:
        realm = given.get(b"realm", b"")
        return (
            bool(given.get(b"username"))
            and hmac.compare_digest(given.get(b"nonce", b""), self._nonce)
            and bool(given.get(b"cnonce"))
            and given.get(b"nc") == _NONCE_COUNT
            and given.get(b"qop", b"auth") == b"auth"
            and b"authzid" not in given
            and len(given.get(b"response", b"")) == 32
            and b"/" in given.get(b"digest-uri", b"")
            and (not realm or realm in self._context.realms)
        )


def _directives(message: bytes) -> dict[bytes, bytes] | None:
    """Read `name=value` pairs; None if the text is anything else or a name comes twice."""
    found: dict[bytes, bytes] = {}
    message = message.strip(b" \t,")
    at = 0
    if len(message) > _MAX_BYTES:
        return None
    while at < len(message):
        match = _DIRECTIVE.match(message, at)
        if match is None or match[1].lower() in found:
            return None
        quoted = match[2]
        found[match[1].lower()] = match[3] if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        at = match.end()
    return found


def _hex_md5(data: bytes) -> bytes:
    return hashlib.md5(data).hexdigest().encode()


class _DigestProof:
    __slots__ = ("_given", "_realm", "_reply", "_user", "scheme")

    def __init__(self, given: dict[bytes, bytes], user: bytes, realm: bytes) -> None:
        self.scheme = "DIGEST-MD5"
        self._given = given
        self._user = user
        self._realm = realm
        self._reply = b""

    def verify(self, stored: StoredPassword) -> Verdict | None:
        if stored.scheme in ("PLAIN", "CLEARTEXT", "CLEAR"):
            secret = hashlib.md5(b"%s:%s:%s" % (self._user, self._realm, stored.data)).digest()
        elif stored.scheme == "DIGEST-MD5":
            try:
                secret = bytes.fromhex(stored.data.decode("ascii"))
            except ValueError:
                return Verdict.UNUSABLE
            if len(secret) != 16:
                return Verdict.UNUSABLE
        else:
            return None
        given = self._given
        session = _hex_md5(b"%s:%s:%s" % (secret, given[b"nonce"], given[b"cnonce"]))
        matched = hmac.compare_digest(self._keyed(session, b"AUTHENTICATE:"), given[b"response"].lower())
        self._reply = b"rspauth=" + self._keyed(session, b":")
        return Verdict.MATCH if matched else Verdict.MISMATCH

    def _keyed(self, session: bytes, method: bytes) -> bytes:
        given = self._given
        middle = b"%s:%s:%s:auth" % (given[b"nonce"], _NONCE_COUNT, given[b"cnonce"])
        return _hex_md5(b"%s:%s:%s" % (session, middle, _hex_md5(method + given[b"digest-uri"])))

    def final_challenge(self) -> bytes:
        return self._reply
