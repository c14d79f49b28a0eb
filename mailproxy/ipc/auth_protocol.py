"""Dovecot's auth client protocol: lines between a login worker and the auth process.

Lines end in LF, fields are split by TAB, values are escaped both ways (`ipc.escape`). A parameter that
nobody knows is ignored, so that newer peers, Postfix and Exim can speak to us. `resp=` comes last: what a
client typed can never be followed by a field of ours. Source: Dovecot 1.0 auth protocol 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc.escape import escape, unescape

Fields = dict[bytes, bytes]


class Mechanism(NamedTuple):
    """A SASL mechanism as announced by auth; flags such as `plaintext`, `private`, `dictionary`."""

    name: bytes
    flags: frozenset[bytes]

    @property
    def is_plaintext(self) -> bool:
        """Whether the password crosses the wire readable, and thus needs a secured connection."""
        return b"plaintext" in self.flags

    @property
    def is_private(self) -> bool:
        """Whether clients are not told of it (APOP has its own command)."""
        return b"private" in self.flags


_PLAINTEXT = frozenset((b"plaintext",))
KNOWN_MECHANISMS = {
    name: Mechanism(name.encode(), flags)
    for name, flags in {
        "PLAIN": _PLAINTEXT,
        "LOGIN": _PLAINTEXT,
        # Whoever reads a token can use it, so it counts as a password.
        "XOAUTH2": _PLAINTEXT,
        "OAUTHBEARER": _PLAINTEXT,
        "CRAM-MD5": frozenset((b"dictionary", b"active")),
        "DIGEST-MD5": frozenset((b"dictionary", b"active", b"mutual-auth")),
        "APOP": frozenset((b"private", b"dictionary", b"active")),
    }.items()
}
"""What our auth announces, by name; another auth may know others."""


_ID_DIGITS = 10
_LAST_ID = (1 << 32) - 1


class Outcome(Enum):
    """How auth answered one request."""

    OK = b"OK"
    FAIL = b"FAIL"
    CONTINUE = b"CONT"


# Without a repr of the fields, among which is the password for the backend.
@dataclass(slots=True, repr=False)
class Reply:
    """One answer of auth: `fields` for OK and FAIL, `challenge` (base64) for CONTINUE."""

    outcome: Outcome
    request_id: int
    fields: Fields
    challenge: bytes = b""


def render_auth(request_id: int, mechanism: bytes, parameters: bytes, response: bytes | None) -> bytes:
    """Return an AUTH line.

    `parameters` is what `render_parameters` made, `response` base64 or None for *no initial response*.
    """
    resp = b"" if response is None else b"\tresp=" + response
    return b"AUTH\t%d\t%s\t%s%s\n" % (request_id, mechanism, parameters, resp)


def render_parameters(service: bytes, secured: bool, lip: bytes, rip: bytes) -> bytes:
    """Return the parameters that stay the same over a connection; addresses are textual."""
    return b"service=%s%s\tlip=%s\trip=%s" % (service, b"\tsecured" if secured else b"", lip, rip)


def render_continue(request_id: int, response: bytes) -> bytes:
    """Return a CONT line of the client side; `response` is base64."""
    return b"CONT\t%d\t%s\n" % (request_id, response)


def render_cancel(request_id: int) -> bytes:
    """Return a CANCEL line: the client is gone, the answer is not wanted any more (Dovecot 2.x)."""
    return b"CANCEL\t%d\n" % request_id


def render_fields(outcome: Outcome, request_id: int, fields: Fields) -> bytes:
    """Return an OK or FAIL line; a field with an empty value is sent as a bare word."""
    words = [b"%s\t%d" % (outcome.value, request_id)]
    for name, value in fields.items():
        words.append(escape(name) + b"=" + escape(value) if value else escape(name))
    return b"\t".join(words) + b"\n"


def render_challenge(request_id: int, challenge: bytes) -> bytes:
    """Return a CONT line of the server side; `challenge` is base64, maybe empty."""
    return b"CONT\t%d\t%s\n" % (request_id, challenge)


def parse_fields(words: list[bytes]) -> Fields:
    """Read `name=value` and bare words; of a name that comes twice the last counts."""
    fields: Fields = {}
    for word in words:
        name, _, value = word.partition(b"=")
        if b"\x01" in word:
            name, value = unescape(name), unescape(value)
        fields[name] = value
    return fields


REPLIES = {outcome.value: outcome for outcome in Outcome}
"""By the first word of the line, which `parse_reply` reads."""


def parse_reply(words: list[bytes]) -> Reply:
    """Read the fields of an OK, FAIL or CONT line. Raises PeerViolation."""
    outcome = REPLIES[words[0]]
    if len(words) < 2:
        raise PeerViolation(f"{outcome.name} without a request id")
    request_id = parse_id(words[1])
    if outcome is Outcome.CONTINUE:
        return Reply(outcome, request_id, {}, words[2] if len(words) > 2 else b"")
    return Reply(outcome, request_id, parse_fields(words[2:]))


def parse_id(word: bytes) -> int:
    """Read a request id: decimal, 1 to 2^32-1. Raises PeerViolation."""
    if word.isdigit() and len(word) <= _ID_DIGITS and 0 < (number := int(word)) <= _LAST_ID:
        return number
    raise PeerViolation("invalid request id")
