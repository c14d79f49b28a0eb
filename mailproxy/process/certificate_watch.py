"""Certificates that were replaced on the disk are taken into use without a reload."""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.base.errors import ConfigError
from mailproxy.base.level import Level
from mailproxy.net.reactor import Reactor
from mailproxy.process.succession import Succession

# How often certificates are looked at for others in their place; only with TLS.
_WATCH_S = 30.0
_WARN_AGAIN_S = 86400.0


class CertificateWatch:
    """Looks from the first `arm` for as long as there is a file to look at."""

    def __init__(self, reactor: Reactor, succession: Succession, log: Callable[[Level, str], None]) -> None:
        self._reactor = reactor
        self._succession = succession
        self._log = log
        self._is_armed = False
        self._is_over = False
        self._warn_again_s = 0.0

    def arm(self) -> None:
        """Begin to look, unless there is nothing to look at."""
        if self._succession.certificates.is_watched and not self._is_armed:
            self._is_armed = True
            self._warn_again_s = self._reactor.now + _WARN_AGAIN_S
            self._reactor.call_later(_WATCH_S, self._watch)

    def end(self) -> None:
        """Look no more."""
        self._is_over = True

    def _watch(self) -> None:
        succession = self._succession
        if self._is_over or not succession.certificates.is_watched:
            self._is_armed = False
            return
        self._reactor.call_later(_WATCH_S, self._watch)
        if succession.current is None or succession.is_pending:
            return
        try:
            renewed = succession.certificates.renewed()
        except ConfigError as error:
            for problem in error.problems:
                self._log(Level.ERROR, str(problem))
            self._log(Level.WARNING, "Certificates have changed and cannot be used, keeping old ones")
            return
        if renewed is not None:
            self._log(Level.INFO, "Certificates have changed, login processes take the new ones")
            succession.renew(renewed)
        if renewed is not None or self._reactor.now >= self._warn_again_s:
            self._warn_again_s = self._reactor.now + _WARN_AGAIN_S
            for warning in succession.certificates.warnings():
                self._log(Level.WARNING, warning)
