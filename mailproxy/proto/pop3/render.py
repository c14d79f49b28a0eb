"""POP3 replies of several lines: CAPA and the list of mechanisms (RFC 2449, RFC 5034)."""

from __future__ import annotations

from collections.abc import Iterable


def capability(fixed: bytes, mechanisms: Iterable[bytes], user_allowed: bool) -> bytes:
    """Return the whole reply to CAPA; each word of `fixed` is a line of its own."""
    lines = [b"+OK", *fixed.split()]
    if user_allowed:
        lines.append(b"USER")
    lines.append(b" ".join([b"SASL", *mechanisms]))
    return b"\r\n".join([*lines, b".", b""])


def mechanism_list(mechanisms: Iterable[bytes]) -> bytes:
    """Return the whole reply to AUTH without arguments."""
    return b"\r\n".join([b"+OK", *mechanisms, b".", b""])
