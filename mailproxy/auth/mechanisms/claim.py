"""What a mechanism finds out: who somebody says he is, and how that is to be proved."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mailproxy.auth.schemes import StoredPassword, Verdict


class Proof(Protocol):
    """A response that only somebody who knows the password could compute."""

    scheme: str
    """The scheme besides plain text whose stored form is enough to check the response."""

    def verify(self, stored: StoredPassword) -> Verdict | None:
        """Compare; None when the stored scheme does not allow it."""

    def final_challenge(self) -> bytes:
        """What the client has to be sent after success, empty for nothing."""


class Claim(NamedTuple):
    """The end of an exchange: a name, perhaps another name to act as, and what is to prove it."""

    user: bytes
    acts_as: bytes
    """The authorization identity (RFC 4616); empty when it is the user himself."""
    password: bytes | None
    proof: Proof | None
    token: bytes | None = None
    """Something that only the backend can check; then there is neither password nor proof."""

    def __repr__(self) -> str:
        """Leave out password and token."""
        return f"Claim(user={self.user!r}, acts_as={self.acts_as!r})"


class Exchange(Protocol):
    """One run of a mechanism."""

    def respond(self, response: bytes | None) -> bytes | Claim | None:
        """Take the client's next message; None is *no initial response*.

        Returns a challenge for the client, the claim, or None for input that makes no sense.
        """


class Context(NamedTuple):
    """What a mechanism may know about where it runs."""

    hostname: bytes
    realms: tuple[bytes, ...]
    server_pid: int
    connection_id: int
    started_at: int
    """Wall-clock seconds when this auth process began; only APOP's greeting carries it."""
