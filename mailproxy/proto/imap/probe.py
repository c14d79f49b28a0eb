"""Asking an IMAP backend what it can do, without logging in: banner, maybe STARTTLS, CAPABILITY, LOGOUT."""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.base.secret import Secret
from mailproxy.proto.backend import Account, Verdict
from mailproxy.proto.imap.backend import ImapBackend
from mailproxy.proto.imap.render import derived_tag


class ImapProbe(ImapBackend):
    """Accepted when `announced` is known; it has no password that it could send."""

    __slots__ = ("announced",)

    def __init__(self, starttls: bool, tag: bytes, send: Callable[[bytes], None]) -> None:
        super().__init__(Account(b"", Secret(b""), starttls=starttls), tag, send)
        self.announced: frozenset[bytes] | None = None
        """Upper case."""

    def _log_in(self) -> Verdict:
        """Ask, where a login would begin; leave when the answer is complete."""
        if self._handle is not ImapBackend._on_capability:
            return self._ask_capability()
        if not self.capability:
            return self._broken("Remote announced no capability")
        self.announced = frozenset(self.capability.upper().split())
        self._send(derived_tag(self._tag, b"LOGOUT") + b" LOGOUT\r\n")
        return Verdict.ACCEPTED
