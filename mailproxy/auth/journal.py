"""What the log is told of requests, as auth_verbose, auth_debug and auth_debug_passwords ask for it."""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.auth.request import Request
from mailproxy.base.level import Level
from mailproxy.config.settings import AuthSettings


class Journal:
    """Writes lines that begin with the request's label; texts are fit for the log and hold no secret."""

    def __init__(self, settings: AuthSettings, log: Callable[[Level, str], None]) -> None:
        self.shows_passwords = settings.debug_passwords
        self.is_debugging = settings.debug or settings.debug_passwords
        self.is_verbose = settings.verbose or self.is_debugging
        self._log = log

    def note(self, request: Request, subsystem: str, text: str) -> None:
        """Say, with auth_verbose, why a login is refused or what else its user may ask about."""
        if self.is_verbose:
            self._log(Level.INFO, request.label(subsystem) + text)

    def trace(self, request: Request, subsystem: str, text: str) -> None:
        """Say, with auth_debug, what is being done. Where `text` is costly to make, ask first."""
        if self.is_debugging:
            self._log(Level.INFO, request.label(subsystem) + text)

    def error(self, request: Request, subsystem: str, text: str) -> None:
        """Say what the administrator has to mend."""
        self._log(Level.ERROR, request.label(subsystem) + text)
