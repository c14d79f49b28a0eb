"""SASL PLAIN. Source: RFC 4616."""

from __future__ import annotations

from mailproxy.auth.mechanisms.claim import Claim, Context


class Plain:
    """One message: authorization identity, NUL, user, NUL, password."""

    __slots__ = ()

    def __init__(self, context: Context) -> None:
        pass

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Ask for the message if it did not come along; exactly two NULs, nothing is ever cut."""
        if response is None:
            return b""
        parts = response.split(b"\0")
        if len(parts) != 3:
            return None
        acts_as, user, password = parts
        return Claim(user, b"" if acts_as == user else acts_as, password, None)
