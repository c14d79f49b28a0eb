"""Whom a session talks with."""

from __future__ import annotations


class Client:
    """One accepted connection, as text fit for the log; `pid` is the worker's."""

    __slots__ = ("lip", "lport", "pid", "rip", "rport", "secured")

    def __init__(self, lip: str, rip: str, lport: int, rport: int, secured: bool, pid: int) -> None:
        self.lip = lip
        self.rip = rip
        self.lport = lport
        self.rport = rport
        self.secured = secured
        """TLS, or a client on this very host: see `is_secured`."""
        self.pid = pid


def is_secured(lip: str, rip: str, has_tls: bool) -> bool:
    """Whether nobody can listen in: TLS, or both ends have the same address, as Dovecot sees it."""
    return has_tls or lip == rip
