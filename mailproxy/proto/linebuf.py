"""Bytes of one peer that wait to become lines.

A line ends in LF or CRLF and in nothing else (RFC 3501, RFC 1939): a lone CR, VT, NEL or the like is data.
The place up to which a search for LF found nothing is remembered, so input that comes byte by byte costs no
more than twice what it costs in one piece.
"""

from __future__ import annotations

_LF = b"\n"
_CR = 13


class LineTooLong(Exception):
    """A line passed its limit, whether or not its end has come yet."""


class LineBuffer:
    """Bounds lines, not itself: whoever feeds it stops feeding when `len()` says that it holds enough."""

    __slots__ = ("_data", "_searched")

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Append what was read."""
        self._data += data

    def begins_with(self, word: bytes) -> bool:
        """Whether the waiting bytes begin with `word`, which is upper case, in any case."""
        return self._data[: len(word)].upper() == word

    def next_line(self, limit_bytes: int) -> bytes | None:
        """Take the next line without its end; None means that more bytes are needed.

        The limit counts everything before LF. Raises LineTooLong at the byte that passes it; the answer is
        the same however the bytes arrived. The bytes stay here then.
        """
        data = self._data
        end = data.find(_LF, self._searched)
        if end < 0:
            if len(data) > limit_bytes:
                raise LineTooLong
            self._searched = len(data)
            return None
        if end > limit_bytes:
            raise LineTooLong
        line = bytes(data[: end - 1] if end and data[end - 1] == _CR else data[:end])
        # Deleting at the front of a bytearray moves a pointer, not the bytes behind it.
        del data[: end + 1]
        self._searched = 0
        return line

    def take(self, count: int) -> bytes | None:
        """Take exactly `count` bytes, or None if they are not all here."""
        data = self._data
        if len(data) < count:
            return None
        taken = bytes(data[:count])
        del data[:count]
        self._searched = 0
        return taken

    def take_rest(self) -> bytes:
        """Take everything, for the relay."""
        rest = bytes(self._data)
        self._data.clear()
        self._searched = 0
        return rest
