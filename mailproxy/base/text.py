"""Foreign bytes made fit for a log line."""

from __future__ import annotations

LIMIT_CHARS = 128


def printable(value: bytes | str, limit_chars: int = LIMIT_CHARS) -> str:
    """Return `value` with everything but printable ASCII escaped as \\xNN, cut at `limit_chars`.

    A log line built from it stays one line and cannot move a terminal's cursor.
    """
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    text = raw[: limit_chars + 1].decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= limit_chars else text[: limit_chars - 3] + "..."
