"""Bytes of one peer that wait to become lines.

A line ends in LF or CRLF and in nothing else (RFC 3501, RFC 1939): a lone CR, VT, NEL or the like is data.
What is not a whole line yet is copied at each read. The place up to which a search for LF found nothing is
remembered, so input that comes byte by byte costs little more than its reads: lines are a few KiB.
"""

from __future__ import annotations

import re

_LF = b"\n"
_CR = 13


class LineTooLong(Exception):
    """A line passed its limit, whether or not its end has come yet."""


class LineBuffer:
    """Bounds lines, not itself: whoever feeds it stops feeding when `len()` says that it holds enough."""

    __slots__ = ("_at", "_data", "_searched")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        """Where in the data the next line begins."""
        self._searched = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def feed(self, data: bytes) -> None:
        """Append what was read."""
        if not self._data:
            self._data = data  # A whole command or answer in one read is the rule: it is not copied.
            return
        self._searched -= self._at
        self._data = self._data[self._at :] + data
        self._at = 0

    def begins_with(self, word: bytes) -> bool:
        """Whether the waiting bytes begin with `word`, which is upper case, in any case."""
        return self._data[self._at : self._at + len(word)].upper() == word

    def next_line(self, limit_bytes: int) -> bytes | None:
        """Take the next line without its end; None means that more bytes are needed.

        The limit counts everything before LF. Raises LineTooLong at the byte that passes it; the answer is
        the same however the bytes arrived. The bytes stay here then.
        """
        data, at = self._data, self._at
        end = data.find(_LF, self._searched)
        if end < 0:
            if len(data) - at > limit_bytes:
                raise LineTooLong
            self._searched = len(data)
            return None
        if end - at > limit_bytes:
            raise LineTooLong
        after = end + 1
        if after < len(data):
            self._at = self._searched = after
        else:
            self._data = b""
            self._at = self._searched = 0
        return data[at : end - 1 if end > at and data[end - 1] == _CR else end]

    def take(self, count: int) -> bytes | None:
        """Take exactly `count` bytes, or None if they are not all here."""
        end = self._at + count
        if len(self._data) < end:
            return None
        taken = self._data[self._at : end]
        self._at = self._searched = end
        if end == len(self._data):
            # Not kept until the next read: it may have held a password.
            self._data = b""
            self._at = self._searched = 0
        return taken

    def take_match(self, pattern: re.Pattern[bytes], limit_bytes: int) -> re.Match[bytes] | None:
        """Take everything if the pattern matches all of it, and it is no more than that; else nothing."""
        data, at = self._data, self._at
        if len(data) - at > limit_bytes or (found := pattern.fullmatch(data, at)) is None:
            return None
        self._data = b""
        self._at = self._searched = 0
        return found

    def take_rest(self) -> bytes:
        """Take everything, for the relay."""
        rest = self._data[self._at :]
        self._data = b""
        self._at = self._searched = 0
        return rest
