"""SASL LOGIN, two prompts. Source: draft-murchison-sasl-login."""

from __future__ import annotations

from mailproxy.auth.mechanisms.claim import Claim, Context


class Login:
    """Asks for the name, then the password; an initial response is taken as the name."""

    __slots__ = ("_asked", "_user")

    def __init__(self, context: Context) -> None:
        self._asked = False
        self._user: bytes | None = None

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Collect name and password."""
        # Some clients send an empty initial response where they mean none.
        if not response and not self._asked:
            self._asked = True
            return b"Username:"
        if response is None or b"\0" in response:
            return None
        if self._user is None:
            self._asked = True
            self._user = response
            return b"Password:"
        return Claim(self._user, b"", response, None)
