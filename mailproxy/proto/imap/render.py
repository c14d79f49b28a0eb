"""IMAP lines that are put together from parts: capabilities, referrals, the LOGIN for a backend."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

IMAP_PORT = 143
LITERAL_MINUS_BYTES = 4096
"""The largest literal that a backend with LITERAL- takes without being asked (RFC 7888)."""

# Quote and backslash would be legal with a backslash before them; not every backend undoes it.
_QUOTABLE = re.compile(rb"[ !#-\[\]-~]*")


def capability(fixed: bytes, mechanisms: Iterable[bytes], starttls: bool, login_disabled: bool) -> bytes:
    """Return the capability words; a configured list replaces only `fixed`, as in Dovecot."""
    words = [fixed] if fixed else []
    if starttls:
        words.append(b"STARTTLS")
    if login_disabled:
        words.append(b"LOGINDISABLED")
    words += [b"AUTH=" + name for name in mechanisms]
    return b" ".join(words)


def referral_url(user: bytes, mechanism: bytes, host: bytes, port: int) -> bytes:
    """Return the IMAP URL of another place to log in (RFC 2192)."""
    name = quote_from_bytes(user, safe="!$&'()*+,-.=~").encode()
    address = b"[%s]" % host if b":" in host else host
    place = address if port == IMAP_PORT else b"%s:%d" % (address, port)
    return b"imap://%s;AUTH=%s@%s/" % (name, mechanism, place)


def login_pieces(tag: bytes, user: bytes, password: bytes, literal_bytes: int) -> list[bytes]:
    """Return a LOGIN cut where the backend's `+` has to be awaited; the last piece ends the command.

    A literal of up to `literal_bytes` goes without waiting. Neither value may hold CR, LF or NUL.
    """
    pieces = [tag + b" LOGIN"]
    for value in (user, password):
        if _QUOTABLE.fullmatch(value) is not None:
            pieces[-1] += b' "%s"' % value
        elif len(value) <= literal_bytes:
            pieces[-1] += b" {%d+}\r\n%s" % (len(value), value)
        else:
            pieces[-1] += b" {%d}\r\n" % len(value)
            pieces.append(value)
    pieces[-1] += b"\r\n"
    return pieces
