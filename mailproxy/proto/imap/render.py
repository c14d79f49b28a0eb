"""IMAP lines that are put together from parts: capabilities, referrals, the LOGIN for a backend."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from urllib.parse import quote_from_bytes

from mailproxy.proto import sasl
from mailproxy.proto.backend import Identity

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
    if _QUOTABLE.fullmatch(user) is not None and _QUOTABLE.fullmatch(password) is not None:
        return [b'%s LOGIN "%s" "%s"\r\n' % (tag, user, password)]
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


def authenticate_pieces(tag: bytes, mechanism: bytes, responses: list[bytes], sasl_ir: bool) -> list[bytes]:
    """Return an AUTHENTICATE cut where the backend's `+` has to be awaited (RFC 4959 with `sasl_ir`)."""
    lines = [response + b"\r\n" for response in responses]
    command = b"%s AUTHENTICATE %s" % (tag, mechanism)
    if sasl_ir and mechanism != sasl.LOGIN:
        return [b"%s %s" % (command, lines[0])]
    return [command + b"\r\n", *lines]


def id_command(tag: bytes, identity: Identity) -> bytes:
    """Return an ID (RFC 2971) with the field names that Dovecot gave to what proxies pass on."""
    session = b'"x-session-id" "%s" ' % identity.session_id if identity.session_id else b""
    return (
        b'%s ID (%s"x-originating-ip" "%s" "x-originating-port" "%d" '
        b'"x-connected-ip" "%s" "x-connected-port" "%d" "x-proxy-ttl" "%d")\r\n'
        % (tag, session, *identity[1:])
    )


def derived_tag(tag: bytes, command: bytes) -> bytes:
    """Return the tag of a command before the login, which tells nothing of the login's own tag."""
    return b"P" + blake2b(command, key=tag, digest_size=4).hexdigest().upper().encode("ascii")
