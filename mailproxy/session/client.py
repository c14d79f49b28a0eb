"""Whom a session talks with."""

from __future__ import annotations

PROXY_TTL = 5
"""How many proxies in a row one login may pass, as in Dovecot."""


class Client:
    """One accepted connection, as text fit for the log; `pid` is the worker's."""

    __slots__ = (
        "cert_name",
        "is_trusted",
        "lip",
        "lport",
        "met_at",
        "pid",
        "proxy_ttl",
        "rip",
        "rport",
        "secured",
        "session_id",
        "since_s",
        "tls",
    )

    def __init__(
        self, lip: str, rip: str, lport: int, rport: int, secured: bool, pid: int, session_id: str = ""
    ) -> None:
        self.met_at = (lip, lport)
        """Our own end of the connection, whatever another proxy says of the client."""
        self.lip = lip
        self.rip = rip
        self.lport = lport
        self.rport = rport
        self.secured = secured
        """Nobody can listen in: TLS, or both ends have the same address, as Dovecot sees it."""
        self.pid = pid
        self.session_id = session_id
        self.since_s = 0.0
        """When he was accepted, in monotonic seconds."""
        self.proxy_ttl = PROXY_TTL
        """How many connections may still follow from this one."""
        self.is_trusted = False
        """Whether he may say for whom he speaks: another proxy."""
        self.tls = ""
        """Protocol and cipher, empty without TLS."""
        self.cert_name = ""
        """Common name of a verified client certificate."""
