"""When the certificates of backends end: a page that all workers write to and the master reads.

A worker sees a backend's certificate at its handshake, and lives as short as one connection; what was warned
of has to be known to them all. Two that write at once may warn twice, or forget until the next handshake.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from datetime import UTC, datetime

from mailproxy.base.text import printable
from mailproxy.net.certificate import end_of
from mailproxy.net.tls_context import WARNED_BEFORE_END

_AGAIN_S = 86_400
_SLOTS = 1024
_NEIGHBOURS = 8
_NAME_BYTES = 112
_SLOT = struct.Struct(f"=QQ{_NAME_BYTES}s")
# What an end can be: 0 is none, and the calendar of the library goes no further than the year 9999.
_FIRST_S, _LAST_S = 1, 253_402_300_799


class SeenCertificates:
    """One for the master and every child forked after it was made. Times are of the wall clock."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _SLOTS * _SLOT.size)

    def is_due(self, backend: str, now_s: int) -> bool:
        """Whether this backend's certificate was not looked at within a day; from now on it was."""
        name = _name(backend)
        at = self._place(name)
        ends_s, looked_s, known = _SLOT.unpack_from(self._page, at)
        if known == name and now_s - looked_s < _AGAIN_S:
            return False
        _SLOT.pack_into(self._page, at, ends_s if known == name else 0, now_s, name)
        return True

    def note(self, backend: str, der: bytes, now_s: int) -> str:
        """Remember when a certificate ends; return a warning if that is in 30 days or less, else nothing."""
        try:
            end = end_of(der)
        except ValueError:
            return ""
        name = _name(backend)
        # A certificate may have ended before there was such a count of seconds.
        ends_s = max(_FIRST_S, int(end.timestamp()))
        _SLOT.pack_into(self._page, self._place(name), ends_s, now_s, name)
        left = end - datetime.fromtimestamp(now_s, UTC)
        if left > WARNED_BEFORE_END:
            return ""
        when = (
            f"ends on {end.date()}, in {left.days} days"
            if left.total_seconds() > 0
            else f"ended on {end.date()}"
        )
        return f"The certificate of backend {printable(backend)} {when}"

    def ends(self) -> dict[str, datetime]:
        """Return when the certificate of each backend ends that was seen since the start, by its name.

        A captured worker may have written anything there: names are printable, times within the calendar.
        """
        found = {}
        for ends_s, _looked_s, name in _SLOT.iter_unpack(self._page[:]):
            if _FIRST_S <= ends_s <= _LAST_S:
                found[printable(name.rstrip(b"\0"))] = datetime.fromtimestamp(ends_s, UTC)
        return dict(sorted(found.items()))

    def _place(self, name: bytes) -> int:
        """Return where a name is, else where it may go: a free slot, or the first of its neighbours'."""
        first = zlib.crc32(name)
        free = -1
        for step in range(_NEIGHBOURS):
            at = (first + step) % _SLOTS * _SLOT.size
            known = _SLOT.unpack_from(self._page, at)[2]
            if known == name:
                return at
            if free < 0 and not known[0]:
                free = at
        return free if free >= 0 else first % _SLOTS * _SLOT.size


def _name(backend: str) -> bytes:
    """Return the end of the text, where address and port are."""
    return backend.encode("ascii", "replace")[-_NAME_BYTES:].ljust(_NAME_BYTES, b"\0")
