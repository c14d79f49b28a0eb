"""Log lines from a child to the master, through a pipe: byte 1, a level's letter, the text, LF.

Whatever arrives unframed (a traceback, a C library's complaint) is an error line, so nothing is lost.
"""

from __future__ import annotations

from mailproxy.base.level import Level

LINE_BYTES = 1024
_FRAME_BYTES = LINE_BYTES + 3
_LEVELS = {level.value.encode(): level for level in Level}


def render(level: Level, text: str) -> bytes:
    """Return one frame; line ends inside `text` become spaces and an over-long text is cut."""
    if "\n" in text or "\r" in text:
        text = text.replace("\n", " ").replace("\r", " ")
    # `_value_` is the attribute; `value` is a property that takes a microsecond to find it.
    frame = f"\x01{level._value_}{text}\n".encode("utf-8", "backslashreplace")
    if len(frame) > _FRAME_BYTES:
        return frame[: _FRAME_BYTES - 4] + b"...\n"
    return frame


def parse(line: bytes) -> tuple[Level, str]:
    """Read one line without its LF; what could move a terminal's cursor is escaped, whoever wrote it."""
    level = Level.ERROR
    if line[:1] == b"\x01" and line[1:2] in _LEVELS:
        level, line = _LEVELS[line[1:2]], line[2:]
    text = line[:LINE_BYTES].decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)[:LINE_BYTES]
    return level, text
