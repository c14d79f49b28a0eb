"""The tokens of XOAUTH2 and OAUTHBEARER: taken from the client, looked at by the backend alone.

Sources: RFC 7628, RFC 6750 section 2.1; Google's description of XOAUTH2.
"""

from __future__ import annotations

import re

from mailproxy.auth.mechanisms.claim import Claim, Context

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
_ESCAPED_NAME = re.compile(rb"(?:[^=,\0]|=2C|=3D)+")


class Xoauth2:
    """One message: `user=NAME`, `auth=Bearer TOKEN`, each with a byte 1 behind it, and one more."""

    __slots__ = ()

    def __init__(self, context: Context) -> None:
        pass

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Ask for the message if it did not come along."""
        if not response:
            return b"" if response is None else None
        pairs = _pairs(response)
        if pairs is None or b"user" not in pairs:
            return None
        return _claim(pairs[b"user"], pairs)


class OAuthBearer:
    """One message: the header `n,a=NAME,`, then pairs as above, of which only `auth` matters here."""

    __slots__ = ()

    def __init__(self, context: Context) -> None:
        pass

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Ask for the message if it did not come along. Without a name there is nobody to look up."""
        if not response:
            return b"" if response is None else None
        header, separator, rest = response.partition(b"\x01")
        parts = header.split(b",")
        # `p=` would be channel binding, which these mechanisms do not have.
        if not separator or len(parts) != 3 or parts[0] not in (b"n", b"y") or parts[2]:
            return None
        name = parts[1].removeprefix(b"a=")
        pairs = _pairs(rest)
        if name == parts[1] or not _ESCAPED_NAME.fullmatch(name) or pairs is None:
            return None
        return _claim(name.replace(b"=2C", b",").replace(b"=3D", b"="), pairs)


def _pairs(message: bytes) -> dict[bytes, bytes] | None:
    """Read `name=value` pairs up to the empty one at the end; None if a name is missing or comes twice."""
    if not message.endswith(b"\x01\x01"):
        return None
    found: dict[bytes, bytes] = {}
    for pair in message[:-2].split(b"\x01"):
        name, equals, value = pair.partition(b"=")
        if not name or not equals or name in found:
            return None
        found[name] = value
    return found


def _claim(user: bytes, pairs: dict[bytes, bytes]) -> Claim | None:
    kind, _, token = pairs.get(b"auth", b"").partition(b" ")
    if kind.lower() != b"bearer" or not _TOKEN.fullmatch(token):
        return None
    return Claim(user, b"", None, None, token)
