"""SASL exchanges as lines of base64 (RFC 4422; RFC 4959 and RFC 5034 for initial responses)."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

ABORT = b"*"
EMPTY_RESPONSE = b"="
"""How an initial response of no bytes is written."""

PLAIN = b"PLAIN"
APOP = b"APOP"
LOGIN = b"LOGIN"
XOAUTH2 = b"XOAUTH2"
OAUTHBEARER = b"OAUTHBEARER"
OAUTH = (XOAUTH2, OAUTHBEARER)
"""A failure comes as a challenge, which has to be answered before the backend says no."""
BACKEND_MECHANISMS = (PLAIN, LOGIN, *OAUTH)


def decode(line: bytes) -> bytes | None:
    """Decode strict base64: its alphabet, complete padding, nothing behind it. None for anything else.

    What auth would decode leniently must not pass here: two readers of one line have to agree on it.
    """
    try:
        return a2b_base64(line, strict_mode=True)
    except (Error, ValueError):
        return None


def encode(message: bytes) -> bytes:
    """Return base64 without a line end."""
    return b2a_base64(message, newline=False)


def plain(user: bytes, password: bytes, authzid: bytes = b"") -> bytes:
    """Return the base64 message of mechanism PLAIN (RFC 4616); without `authzid` the user is himself."""
    return b2a_base64(b"%s\0%s\0%s" % (authzid, user, password), newline=False)


def responses(mechanism: bytes, user: bytes, master: bytes, password: bytes) -> list[bytes]:
    """Return the base64 messages of a client who logs in at a backend, in order.

    OAuth's password is a token (RFC 7628, and Google's XOAUTH2). No value may hold CR, LF, NUL or byte 1.
    """
    if mechanism == LOGIN:
        return [encode(user), encode(password)]
    if mechanism == XOAUTH2:
        return [encode(b"user=%s\x01auth=Bearer %s\x01\x01" % (user, password))]
    if mechanism == OAUTHBEARER:
        name = user.replace(b"=", b"=3D").replace(b",", b"=2C")
        return [encode(b"n,a=%s,\x01auth=Bearer %s\x01\x01" % (name, password))]
    return [plain(master, password, user) if master else plain(user, password)]


def apop(challenge: bytes, name: bytes, digest: bytes) -> bytes:
    """Return the base64 message of Dovecot's mechanism APOP; `digest` is 16 raw bytes."""
    return b2a_base64(b"%s\0%s\0%s" % (challenge, name, digest), newline=False)


def breaks_line(value: bytes) -> bool:
    """Whether `value` cannot be part of a line protocol: it holds CR, LF or NUL.

    Such a value is refused, never cleaned: the backend would be asked for another user or password than
    the one that was checked.
    """
    return b"\r" in value or b"\n" in value or b"\0" in value
