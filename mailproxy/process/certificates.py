"""The TLS contexts in force, and whether their files have changed since."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime
from typing import Self

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.text import printable
from mailproxy.config.settings import Settings
from mailproxy.net import tls_context
from mailproxy.net.seen_certificates import SeenCertificates
from mailproxy.net.tls_context import TlsContexts

_TOLD = 20

Signature = tuple[tuple[str, int, int, int], ...]


class Certificates:
    """One for each set of files that was ever taken. Raises ConfigError when they cannot be used.

    With `before`, contexts of the same settings and files are kept, so that clients resume their sessions.
    """

    def __init__(self, settings: Settings, before: Certificates | None = None) -> None:
        self._settings = settings
        self._tls = {login.protocol: login.tls for login in settings.logins if not login.tls.ssl_disable}
        self._authorities = {login.protocol: login.tls.ssl_client_ca_file for login in settings.logins}
        found = {file for tls in self._tls.values() for file in tls_context.files(tls)}
        self._files = sorted(found | set(self._authorities.values()) - {""})
        # Looked at before they are read: what changes in between is seen as a change later.
        self._taken = self._latest = self._signature()
        self._refused: Signature = ()
        self.contexts: dict[str, ssl.SSLContext] = {}
        """By protocol; those without TLS have none."""
        self.backend: dict[str, TlsContexts] = {}
        """Towards backends, by protocol; with one CA file for both they share them."""
        self.seen: SeenCertificates = SeenCertificates() if before is None else before.seen
        """Those of backends."""
        if before is not None and before._origin() == self._origin():
            self.contexts, self.backend = before.contexts, before.backend
        else:
            self._load()

    @property
    def is_watched(self) -> bool:
        """Whether there is any file to look at."""
        return bool(self._files)

    def warnings(self) -> list[str]:
        """Return a line for each certificate near its end."""
        now = datetime.now(UTC)
        lines = [line for tls in self._tls.values() for line in tls_context.certificate_warnings(tls, now)]
        for ca_file in self._ca_files():
            lines += tls_context.authority_warnings(ca_file, now)
        return list(dict.fromkeys(lines))

    def ends(self) -> dict[str, datetime]:
        """Return when certificates end: the first of each file, and of each backend seen since the start."""
        found: dict[str, datetime] = {}
        for tls in self._tls.values():
            found |= tls_context.certificate_ends(tls)
        for ca_file in self._ca_files():
            found |= tls_context.authority_ends(ca_file)
        return found | self.seen.ends()

    def ends_in_words(self) -> list[str]:
        """Return a line for an administrator for each certificate, the next to end first, if many not all."""
        now = datetime.now(UTC)
        soonest = sorted(self.ends().items(), key=lambda item: item[1])[:_TOLD]
        return [f"certificate {printable(name)}: {(end - now).days} days left" for name, end in soonest]

    def _ca_files(self) -> list[str]:
        verifying = [tls.ssl_ca_file for tls in self._tls.values() if tls.ssl_verify_client_cert]
        return sorted({*self._authorities.values(), *verifying} - {""})

    def renewed(self) -> Self | None:
        """Return what is to be taken now, or None. Raises ConfigError, once for each state of the files.

        Certificate and key are replaced one after the other, so files that have changed since the last look
        are left for the next.
        """
        found, before = self._signature(), self._latest
        self._latest = found
        if found in (self._taken, self._refused) or found != before:
            return None
        try:
            return type(self)(self._settings, self)
        except ConfigError:
            self._refused = found
            raise

    def _load(self) -> None:
        problems: list[Problem] = []
        for protocol, tls in self._tls.items():
            try:
                self.contexts[protocol] = tls_context.server_context(tls, [protocol])
            except ConfigError as error:
                problems += error.problems
        made: dict[str, TlsContexts] = {}
        for protocol, ca_file in self._authorities.items():
            try:
                made[ca_file] = made.get(ca_file) or tls_context.backend_contexts(ca_file)
                self.backend[protocol] = made[ca_file]
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))

    def _origin(self) -> object:
        """Return all that the contexts depend on."""
        return self._tls, self._authorities, self._taken

    def _signature(self) -> Signature:
        return tuple((file, *_state(file)) for file in self._files)


def _state(file: str) -> tuple[int, int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size
