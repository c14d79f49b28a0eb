"""A worker's look at the certificates that backends show, for a warning before one ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from mailproxy.base.level import Level
from mailproxy.net.seen_certificates import SeenCertificates
from mailproxy.net.tls import TlsSocket


class BackendCertificates:
    """The one of a worker; `seen` is shared by all."""

    def __init__(self, seen: SeenCertificates, log: Callable[[Level, str], None]) -> None:
        self._seen = seen
        self._log = log

    def look(self, stream: TlsSocket, name: str, ip: str, port: int) -> None:
        """Look at a backend's certificate after its handshake, unless somebody did today."""
        backend = f"{ip}:{port}" if name == ip else f"{name}({ip}):{port}"
        now_s = int(time.time())
        if self._seen.is_due(backend, now_s):
            warning = self._seen.note(backend, stream.peer_certificate(), now_s)
            if warning:
                self._log(Level.WARNING, warning)
