"""POP3 texts that are put together: CAPA, the list of mechanisms (RFC 2449, RFC 5034), XCLIENT."""

from __future__ import annotations

from collections.abc import Iterable

from mailproxy.proto.backend import Identity


def capability(fixed: bytes, mechanisms: Iterable[bytes] | None, stls: bool, user_allowed: bool) -> bytes:
    """Return the whole reply to CAPA; each word of `fixed` is a line of its own.

    `mechanisms` is None where no login is allowed at all: then there is no SASL either.
    """
    lines = [b"+OK", *fixed.split()]
    if stls:
        lines.append(b"STLS")
    if user_allowed:
        lines.append(b"USER")
    if mechanisms is not None:
        lines.append(b" ".join([b"SASL", *mechanisms]))
    return b"\r\n".join([*lines, b".", b""])


def mechanism_list(mechanisms: Iterable[bytes]) -> bytes:
    """Return the whole reply to AUTH without arguments."""
    return b"\r\n".join([b"+OK", *mechanisms, b".", b""])


def xclient(identity: Identity) -> bytes:
    """Return an XCLIENT with the attribute names of Dovecot."""
    session = b" SESSION=" + identity.session_id if identity.session_id else b""
    return b"XCLIENT ADDR=%s PORT=%d DESTADDR=%s DESTPORT=%d%s TTL=%d\r\n" % (
        identity.originating_ip,
        identity.originating_port,
        identity.connected_ip,
        identity.connected_port,
        session,
        identity.ttl,
    )
