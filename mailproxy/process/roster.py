"""Whom this worker carries, told to an administrator, who may also end them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from mailproxy.ipc.control import Reply, Row, render_reply
from mailproxy.net.packets import PacketSender
from mailproxy.net.reactor import Reactor
from mailproxy.net.relay import Relay
from mailproxy.net.tls import Stream, TlsSocket
from mailproxy.process.arrival import Arrival
from mailproxy.process.connection import Connection

# So many rows are made in one batch of the loop, which others wait for, and fit into one packet.
_ROWS = 100
# Requesters at a time; each is dropped when he does not read.
_REQUESTERS = 16
_KICKED = "Disconnected by the administrator"


class RelayInfo(NamedTuple):
    """Whose relay it is. Memory of every idle session: what can be asked of its sockets is not here."""

    user: str
    rip: str
    session_id: str
    since_s: float
    row: int = 0
    """Where `mail_max_userip_connections` counts it."""


class Roster:
    """A view of the worker's own tables."""

    def __init__(
        self,
        reactor: Reactor,
        sessions: Mapping[Arrival | Connection, None],
        relays: Mapping[Relay, RelayInfo],
        protocol: str,
        on_told: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._sessions = sessions
        self._relays = relays
        self._protocol = protocol
        self._on_told = on_told
        self._senders: set[PacketSender] = set()

    def tell(self, fd: int, kicked: bytes) -> None:
        """Tell everybody, or end those whom `kicked` names and tell them. Takes the descriptor over."""
        if len(self._senders) >= _REQUESTERS:
            os.close(fd)
            return
        found = self._named(kicked.decode("utf-8", "replace")) if kicked else []
        rows = iter([row for row, _ in found]) if kicked else self._rows()
        self._senders.add(PacketSender(self._reactor, fd, _packets(rows), self._end))
        # Only now: a process that has nobody left, and nothing to tell, leaves.
        for _, end in found:
            end()

    @property
    def is_telling(self) -> bool:
        """Whether somebody waits for more."""
        return bool(self._senders)

    def _end(self, sender: PacketSender) -> None:
        self._senders.discard(sender)
        self._on_told()

    def _rows(self) -> Iterator[Row]:
        """Yield those who are still here when their turn comes."""
        for session in list(self._sessions):
            if session in self._sessions:
                yield self._session_row(session)
        for relay in list(self._relays):
            info = self._relays.get(relay)
            if info is not None:
                yield self._relay_row(relay, info)

    def _named(self, name: str) -> list[tuple[Row, Callable[[], None]]]:
        """Return whoever has this name, address or session id, with what ends him."""
        found: list[tuple[Row, Callable[[], None]]] = []
        for session in self._sessions:
            row = self._session_row(session)
            if name in (row.user, row.client, row.session):
                found.append((row, lambda session=session: session.end(_KICKED)))  # type: ignore[misc]
        for relay, info in self._relays.items():
            if name in (info.user, info.rip, info.session_id):
                found.append((self._relay_row(relay, info), relay.close))
        return found

    def _session_row(self, session: Arrival | Connection) -> Row:
        client = session.client
        return Row(
            self._protocol,
            "login",
            session.user,
            client.rip,
            _written(*session.place),
            client.session_id,
            client.tls,
            self._age(client.since_s),
            "0",
            "0",
            str(os.getpid()),
        )

    def _relay_row(self, relay: Relay, info: RelayInfo) -> Row:
        client = relay.up.source
        return Row(
            self._protocol,
            "proxy",
            info.user,
            info.rip,
            _peer(relay.down.source),
            info.session_id,
            client.describe() if isinstance(client, TlsSocket) else "",
            self._age(info.since_s),
            str(relay.up.total_bytes),
            str(relay.down.total_bytes),
            str(os.getpid()),
        )

    def _age(self, since_s: float) -> str:
        return f"{self._reactor.now - since_s:.0f}"


def _peer(stream: Stream) -> str:
    with contextlib.suppress(OSError):
        return _written(*stream.getpeername()[:2])
    return ""


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else ""


def _packets(rows: Iterator[Row]) -> Iterator[bytes]:
    while some := b"".join(row.render() for row in islice(rows, _ROWS)):
        yield render_reply(Reply.ROWS, some)
    yield render_reply(Reply.END)
