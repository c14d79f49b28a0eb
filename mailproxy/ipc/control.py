"""What `mailproxyctl` and a running mailproxy tell each other, one packet each on a SOCK_SEQPACKET socket.

The requester says one request to the master. The master answers, or hands his descriptor on to the workers
(to auth): then each of them answers directly, and the end of file comes when the last has closed its copy.
The master never reads what they say.
"""

from __future__ import annotations

import struct
from enum import Enum, IntEnum
from typing import NamedTuple, Self

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc.escape import escape, unescape

SOCKET_NAME = "control"
"""In base_dir."""
REQUEST_BYTES = 260
INQUIRY_BYTES = 16384
REPLY_BYTES = 65536
"""The longest packet either side takes."""
VERSION = 1
_REQUEST = struct.Struct("!BB")


class Request(IntEnum):
    """What is asked for; KICK has an argument."""

    STATUS = 1
    WHO = 2
    KICK = 3
    RELOAD = 4
    STOP = 5
    UPGRADE = 6
    EXPLAIN = 7
    """A second packet follows, which auth reads."""


def render_request(request: Request, argument: bytes = b"") -> bytes:
    """Return the packet for `request`."""
    return _REQUEST.pack(VERSION, request) + argument


def parse_request(packet: bytes) -> tuple[Request, bytes]:
    """Read a request and its argument. Raises PeerViolation, whose text is for the requester."""
    try:
        version, request = _REQUEST.unpack_from(packet)
        if version != VERSION:
            raise PeerViolation("mailproxyctl and the running mailproxy are of different versions")
        argument = packet[_REQUEST.size :]
        if len(packet) <= REQUEST_BYTES and bool(argument) == (request == Request.KICK):
            return Request(request), argument
    except (struct.error, ValueError):
        pass
    raise PeerViolation("the request is malformed")


class Inquiry(NamedTuple):
    """What would become of a login; `password` is None if it is taken to be right."""

    user: bytes
    service: str
    client: str
    """His IP address, which `allow_nets` may ask for."""
    password: bytes | None

    def __repr__(self) -> str:
        """Leave out the password."""
        return f"Inquiry({self.user!r}, {self.service}, {self.client})"


def render_inquiry(inquiry: Inquiry) -> bytes:
    """Return the packet that follows EXPLAIN."""
    fields = [inquiry.user, inquiry.service.encode(), inquiry.client.encode()]
    fields += [] if inquiry.password is None else [inquiry.password]
    return b"\t".join(escape(field) for field in fields)


def parse_inquiry(packet: bytes) -> Inquiry:
    """Read the packet that follows EXPLAIN. Raises PeerViolation, whose text is for the requester."""
    fields = [unescape(field) for field in packet.split(b"\t")]
    if len(packet) > INQUIRY_BYTES or len(fields) not in (3, 4):
        raise PeerViolation("the question is malformed or too long")
    user, service, client, *password = fields
    try:
        texts = service.decode("ascii"), client.decode("ascii")
        return Inquiry(user, *texts, password[0] if password else None)
    except UnicodeDecodeError:
        raise PeerViolation("service and address have to be ASCII") from None


class Reply(Enum):
    """The first byte of each packet that answers."""

    TEXT = b"T"
    """To be printed."""
    FAILURE = b"F"
    """To be printed, and the request has failed."""
    ASKED = b"N"
    """How many processes were asked, in decimal."""
    ROWS = b"R"
    """Some rows, one a line."""
    END = b"E"
    """One process has said everything."""


def render_reply(kind: Reply, text: bytes = b"") -> bytes:
    """Return the packet for one answer."""
    return kind.value + text


def parse_reply(packet: bytes) -> tuple[Reply, bytes]:
    """Read an answer. Raises PeerViolation."""
    try:
        return Reply(packet[:1]), packet[1:]
    except ValueError:
        raise PeerViolation("an unknown kind of answer") from None


class Row(NamedTuple):
    """One client of one worker, in text that may be anything when it comes from a captured worker."""

    protocol: str
    state: str
    """`login`, or `proxy` when the bytes pass."""
    user: str
    client: str
    """His IP address."""
    backend: str
    """Address and port, empty before there is any."""
    session: str
    tls: str
    """Protocol and cipher, empty without TLS."""
    age_s: str
    """Whole seconds since he was accepted."""
    in_bytes: str
    out_bytes: str
    pid: str

    def render(self) -> bytes:
        """Return one line."""
        return b"\t".join(escape(field.encode("utf-8", "backslashreplace")) for field in self) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read a line without its LF. Raises PeerViolation."""
        fields = [unescape(field).decode("utf-8", "replace") for field in line.split(b"\t")]
        if len(fields) != len(cls._fields):
            raise PeerViolation("a malformed row")
        return cls(*fields)
