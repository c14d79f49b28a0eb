"""One authentication request: what is known of it so far. `auth.engine` moves it on."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from mailproxy.auth.chain import Link
from mailproxy.auth.mechanisms.claim import Exchange, Proof
from mailproxy.auth.mechanisms.registry import Offer
from mailproxy.base.text import printable


class Phase(Enum):
    """Whose row is being looked for."""

    ORDINARY = 1
    MASTER = 2
    """That of the master user, in the master passdbs."""
    TARGET = 3
    """That of the user a master acts as; the password is settled already."""
    UNCHECKED = 4
    """That of a user about whom an administrator asks, who does not know the password."""


class Outlet(Protocol):
    """Where answers go: the connection that asked."""

    def challenge(self, request: Request, challenge: bytes) -> None:
        """Send a challenge, raw."""

    def succeed(self, request: Request, line: bytes) -> None:
        """Send an OK line; the request is over."""

    def fail(self, request: Request, line: bytes, at_once: bool) -> None:
        """Send a FAIL line, at the next beat unless `at_once`; the request is over."""

    def deliver(self, request: Request, line: bytes) -> None:
        """Send a FAIL line whose beat has come."""


class Request:
    """State of one request, from its AUTH line to its OK or FAIL."""

    __slots__ = (
        "awaits_client",
        "broken",
        "certified_name",
        "exchange",
        "final_line",
        "is_over",
        "links",
        "lip",
        "login_user",
        "nodelay",
        "offer",
        "original",
        "outlet",
        "password",
        "phase",
        "pid",
        "position",
        "proof",
        "request_id",
        "rip",
        "secured",
        "service",
        "started_at",
        "token",
        "user",
        "values",
    )

    def __init__(
        self, outlet: Outlet, request_id: int, offer: Offer, exchange: Exchange, pid: str, started_at: float
    ) -> None:
        self.outlet = outlet
        self.request_id = request_id
        self.offer = offer
        self.exchange = exchange
        self.pid = pid
        self.started_at = started_at
        self.service = self.lip = self.rip = ""
        self.secured = False
        self.certified_name: bytes | None = None
        self.awaits_client = False
        self.is_over = False
        self.original = b""
        """The name as typed."""
        self.user: str | None = None
        """The name that goes out, once it is known."""
        self.login_user = ""
        """The name that a master acts as; empty otherwise."""
        self.password: bytes | None = None
        self.proof: Proof | None = None
        self.token: bytes | None = None
        """What only the backend can check, in place of a password."""
        self.values: dict[str, str] = {}
        self.links: tuple[Link, ...] = ()
        self.position = 0
        self.phase = Phase.ORDINARY
        self.broken = False
        """A passdb failed: an unknown user may exist after all."""
        self.nodelay = False
        self.final_line = b""
        """The OK line that waits for the client's answer to the mechanism's last message."""

    @property
    def scheme(self) -> str:
        """What the client's proof can be compared with."""
        return self.proof.scheme if self.proof is not None else "PLAIN"

    def label(self, subsystem: str) -> str:
        """Return the beginning of a log line about this request, Dovecot's way."""
        name = self.values.get("u", "")
        user = printable(name, 64) if name else "?"
        ip = f",{printable(self.rip, 64)}" if self.rip else ""
        return f"{subsystem}({user}{ip}{',master' if self.phase is Phase.MASTER else ''}): "
