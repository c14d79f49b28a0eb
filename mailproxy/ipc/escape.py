"""Escapes for values in lines whose fields are split by TAB (Dovecot's `\\001x` form).

Dovecot 1.0 escaped on one side only and for three bytes; a TAB in a password then became a field
(CVE-2008-1218). Here both sides escape TAB, LF, CR, NUL and byte 1.
"""

from __future__ import annotations

_PAIRS = ((b"\x01", b"1"), (b"\t", b"t"), (b"\n", b"n"), (b"\r", b"r"), (b"\0", b"0"))
_PLAIN = {code: raw for raw, code in _PAIRS}
_ESCAPED = b"".join(raw for raw, _ in _PAIRS)


def escape(value: bytes) -> bytes:
    """Return `value` without any byte that could end a field or a line."""
    # One look for all five: nearly every value is free of them, and every answer has two values.
    if len(value.translate(None, _ESCAPED)) == len(value):
        return value
    for raw, code in _PAIRS:
        if raw in value:
            value = value.replace(raw, b"\x01" + code)
    return value


def unescape(value: bytes) -> bytes:
    """Undo `escape`; an unknown escape yields the byte behind it, a lone byte 1 at the end vanishes."""
    if b"\x01" not in value:
        return value
    head, *rest = value.split(b"\x01")
    return head + b"".join(_PLAIN.get(part[:1], part[:1]) + part[1:] for part in rest)
