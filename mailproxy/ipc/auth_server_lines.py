"""The server's half of Dovecot's auth client protocol: requests to meaning, verdicts to lines.

The rendering functions here take values that are ready to send; `auth_protocol` tells the wire format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc.auth_protocol import Mechanism, parse_id
from mailproxy.ipc.escape import escape, unescape

PROTOCOL_MAJOR = b"1"
VERSION_LINE = b"VERSION\t1\t0\n"


class Ask(NamedTuple):
    """One AUTH line; addresses and service are what the worker said, `response` still base64."""

    request_id: int
    mechanism: bytes
    parameters: dict[bytes, bytes]
    """By name, un-escaped; a bare word such as `secured` has an empty value."""
    response: bytes | None
    """None means that there is no initial response, which differs from an empty one."""

    def __repr__(self) -> str:
        """Leave out the response, which holds a password."""
        return f"Ask({self.request_id}, {self.mechanism!r})"


def parse_ask(words: list[bytes]) -> Ask:
    """Read the words of an AUTH line. Raises PeerViolation.

    `resp=` has to be the last parameter: what follows it could only be forged by who typed it.
    """
    if len(words) < 3:
        raise PeerViolation("AUTH without id or mechanism")
    response = None
    if words[-1].startswith(b"resp="):
        response = words.pop()[5:]
    parameters: dict[bytes, bytes] = {}
    for word in words[3:]:
        name, _, value = word.partition(b"=")
        parameters[name] = unescape(value) if b"\x01" in value else value
    if b"resp" in parameters:
        raise PeerViolation("AUTH has a parameter behind resp=")
    if not parameters.get(b"service"):
        raise PeerViolation("AUTH without service")
    return Ask(parse_id(words[1]), words[2], parameters, response)


def parse_continue(words: list[bytes]) -> tuple[int, bytes]:
    """Read the words of a client's CONT line: request id and base64 response. Raises PeerViolation."""
    if len(words) < 2 or len(words) > 3:
        raise PeerViolation("CONT with a wrong number of fields")
    return parse_id(words[1]), words[2] if len(words) == 3 else b""


def parse_cancel(words: list[bytes]) -> int:
    """Read the words of a CANCEL line. Raises PeerViolation."""
    if len(words) != 2:
        raise PeerViolation("CANCEL with a wrong number of fields")
    return parse_id(words[1])


def parse_client_pid(words: list[bytes]) -> int:
    """Read the words of a CPID line. Raises PeerViolation; 0 is no process."""
    if len(words) != 2:
        raise PeerViolation("CPID with a wrong number of fields")
    return parse_id(words[1])


def check_version(words: list[bytes]) -> None:
    """Refuse another major version of the protocol. Raises PeerViolation."""
    if len(words) < 2 or words[1] != PROTOCOL_MAJOR:
        raise PeerViolation("incompatible version of the auth protocol")


def render_greeting(
    mechanisms: Iterable[Mechanism], server_pid: int, connection_id: int, news: bytes = b""
) -> bytes:
    """Return everything that a new connection is told, mechanisms in the order given; `news` are lines."""
    lines = [b"\t".join([b"MECH", mech.name, *sorted(mech.flags)]) + b"\n" for mech in mechanisms]
    lines.append(VERSION_LINE + b"SPID\t%d\nCUID\t%d\n%sDONE\n" % (server_pid, connection_id, news))
    return b"".join(lines)


def render_lacking(service: bytes, words: Iterable[bytes]) -> bytes:
    """Return a LACKING line, ours: the capabilities that not every backend of a service has.

    It comes within the greeting or at any time after it, and replaces the one before.
    """
    return b"\t".join([b"LACKING", service, *sorted(words)]) + b"\n"


def render_words(fields: Mapping[str, str]) -> bytes:
    """Return fields as they follow `user=` in an OK line, each with its leading TAB."""
    words = []
    for name, value in fields.items():
        word = escape(name.encode("utf-8", "surrogateescape"))
        if value:
            word += b"=" + escape(value.encode("utf-8", "surrogateescape"))
        words.append(b"\t" + word)
    return b"".join(words)


def render_ok(request_id: int, user: bytes, words: bytes, password: bytes | None) -> bytes:
    """Return an OK line; `words` come from `render_words`, `password` is sent on as `pass=` if given."""
    if password is None:
        return b"OK\t%d\tuser=%s%s\n" % (request_id, escape(user), words)
    return b"OK\t%d\tuser=%s%s\tpass=%s\n" % (request_id, escape(user), words, escape(password))


def render_fail(request_id: int, user: bytes | None, temporary: bool = False, reason: bytes = b"") -> bytes:
    """Return a FAIL line, which never has anything in it that a database said."""
    line = b"FAIL\t%d" % request_id
    if user is not None:
        line += b"\tuser=" + escape(user)
    if temporary:
        line += b"\ttemp"
    if reason:
        line += b"\treason=" + escape(reason)
    return line + b"\n"
