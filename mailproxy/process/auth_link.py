"""A login worker's connection to one auth process: requests out in batches, replies in by id.

When auth goes away every open request is told so, and the link connects again with a growing delay; what is
asked meanwhile waits for it, for a while.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from socket import SocketType
from typing import Protocol

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.base.limits import AUTH_LINE_BYTES, AUTH_PENDING_REQUESTS, AUTH_WAIT_S
from mailproxy.ipc.auth_protocol import (
    REPLIES,
    Mechanism,
    Outcome,
    Reply,
    parse_reply,
    render_auth,
    render_cancel,
    render_continue,
)
from mailproxy.net.reactor import READ, WRITE, Reactor, Timer
from mailproxy.process.child import Log

_RECONNECT_MIN_S = 0.05
_RECONNECT_MAX_S = 1.0
# A request made while auth is away waits this long for it to come back.
_ABSENCE_S = 5.0
# More would cost 1 us a read: the C library wipes what it gives and takes (process/scrub.py).
_READ_BYTES = 8192
_NON_BLOCKING_STREAM = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


class Asker(Protocol):
    """Who asked; called at most once per answer."""

    def on_auth_reply(self, reply: Reply) -> None:
        """An answer, or a challenge after which the request stays open."""

    def on_auth_lost(self) -> None:
        """No answer will come."""


class AuthLink:
    """Owns the socket to `path`.

    `on_ready` is called at the end of the first handshake, `on_news` when `lacking` changed after that.
    """

    def __init__(
        self,
        reactor: Reactor,
        path: str,
        log: Log,
        on_ready: Callable[[], None],
        on_news: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._log = log
        self._on_ready: Callable[[], None] | None = on_ready
        self._on_news = on_news
        self._socket: SocketType | None = None
        self._is_ready = False
        self._in = b""
        self._out: list[bytes] = []
        self._unsent = b""
        self._flush_asked = False
        self._waits_to_write = False
        self._askers: dict[int, Asker] = {}
        self._asked_at: dict[int, float] = {}
        self._last_id = 0
        self._delay_s = _RECONNECT_MIN_S
        self._reconnect: Timer | None = None
        self._handshake: list[Mechanism] = []
        self._heard: dict[bytes, frozenset[bytes]] = {}
        self._sweep_armed = False
        self.mechanisms: tuple[Mechanism, ...] = ()
        """As announced; empty before the first handshake."""
        self.lacking: dict[bytes, frozenset[bytes]] = {}
        """By service, which capabilities not every backend has, upper case; only our auth knows."""
        self.auth_pid = b""
        self.connect_id = b""

    @property
    def is_ready(self) -> bool:
        """Whether requests are sent at once."""
        return self._is_ready

    def connect(self) -> None:
        """Connect and shake hands; on failure try again later."""
        self._reconnect = None
        link = None
        try:
            link = SocketType(socket.AF_UNIX, _NON_BLOCKING_STREAM)
            link.connect(self._path)
        except OSError as error:
            if link is not None:
                link.close()
            if self._delay_s >= _RECONNECT_MAX_S:
                self._log(Level.ERROR, f"Can't connect to auth server at {self._path}: {error.strerror}")
            self._connect_later()
            return
        self._socket = link
        self._in, self._handshake, self._heard = b"", [], {}
        self._reactor.add(link.fileno(), READ, self._on_events)
        self._unsent = b"VERSION\t1\t0\nCPID\t%d\n" % os.getpid()
        self._ask_flush()

    def _connect_later(self) -> None:
        self._reconnect = self._reactor.call_later(self._delay_s, self.connect)
        self._delay_s = min(self._delay_s * 2, _RECONNECT_MAX_S)

    def ask(self, asker: Asker, mechanism: bytes, parameters: bytes, response: bytes | None) -> int:
        """Begin a request and return its id; 0 when too many are open."""
        if len(self._askers) >= AUTH_PENDING_REQUESTS:
            return 0
        request_id = self._last_id = self._last_id % 0x7FFFFFFF + 1
        self._askers[request_id] = asker
        self._asked_at[request_id] = self._reactor.now
        self._out.append(render_auth(request_id, mechanism, parameters, response))
        if not self._flush_asked:
            self._flush_asked = True
            self._reactor.flush_soon(self._flush)
        if not self._sweep_armed:
            self._arm_sweep()
        return request_id

    def answer(self, request_id: int, response: bytes) -> None:
        """Continue a request that got a challenge."""
        self._out.append(render_continue(request_id, response))
        self._ask_flush()

    def cancel(self, request_id: int) -> None:
        """Forget a request; its answer is dropped when it comes."""
        if self._askers.pop(request_id, None) is not None:
            del self._asked_at[request_id]
            if not self._is_ready:
                # Auth never heard of it, and however long it stays away, what waits for it stays bounded.
                unheard = b"AUTH\t%d\t" % request_id
                self._out = [line for line in self._out if not line.startswith(unheard)]
                return
            self._out.append(render_cancel(request_id))
            self._ask_flush()

    def close(self) -> None:
        """Let go of the socket; nothing is asked any more."""
        if self._reconnect is not None:
            self._reactor.cancel(self._reconnect)
            self._reconnect = None
        if self._socket is not None:
            self._reactor.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    # -- writing ------------------------------------------------------------------------------------------

    def _ask_flush(self) -> None:
        if not self._flush_asked:
            self._flush_asked = True
            self._reactor.flush_soon(self._flush)

    def _flush(self) -> None:
        """Write a batch of requests at once; before the handshake only the handshake."""
        self._flush_asked = False
        if self._socket is None:
            return
        data = self._unsent
        if self._is_ready and self._out:
            data += b"".join(self._out)
            self._out.clear()
        if not data:
            return
        try:
            sent_bytes = self._socket.send(data)
        except BlockingIOError:
            sent_bytes = 0
        except OSError as error:
            self._lose(error.strerror or "write failed")
            return
        self._unsent = data[sent_bytes:]
        if bool(self._unsent) != self._waits_to_write:
            self._waits_to_write = bool(self._unsent)
            self._reactor.change(self._socket.fileno(), READ | (WRITE if self._unsent else 0))

    # -- reading ------------------------------------------------------------------------------------------

    def _on_events(self, events: int) -> None:
        if events & WRITE:
            self._ask_flush()
        if self._socket is None or not events & ~WRITE:
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error.strerror or "read failed")
            return
        if not data:
            self._lose("connection closed")
            return
        try:
            self._take(data)
        except PeerViolation as error:
            self._log(Level.ERROR, f"BUG: auth server at {self._path}: {error}")
            self._lose("protocol error")

    def _take(self, data: bytes) -> None:
        *lines, self._in = (self._in + data).split(b"\n")
        if len(self._in) > AUTH_LINE_BYTES:
            raise PeerViolation("line too long")
        for line in lines:
            words = line.split(b"\t")
            if words[0] in REPLIES:
                self._deliver(parse_reply(words))
            elif not self._is_ready:
                self._shake_hands(words)
            elif words[0] == b"LACKING":
                self._hear(words)
                self._take_news()

    def _deliver(self, reply: Reply) -> None:
        request_id = reply.request_id
        if reply.outcome is Outcome.CONTINUE:
            asker = self._askers.get(request_id)
        else:
            asker = self._askers.pop(request_id, None)
            self._asked_at.pop(request_id, None)
        if asker is not None:
            asker.on_auth_reply(reply)

    def _shake_hands(self, words: list[bytes]) -> None:
        match words:
            case [b"VERSION", major, *_]:
                if major != b"1":
                    raise PeerViolation("auth speaks another protocol version")
            case [b"MECH", name, *flags]:
                self._handshake.append(Mechanism(name, frozenset(flags)))
            case [b"SPID", pid, *_]:
                self.auth_pid = pid
            case [b"CUID", connect_id, *_]:
                self.connect_id = connect_id
            case [b"LACKING", *_]:
                self._hear(words)
            case [b"DONE", *_]:
                self._become_ready()
            case _:
                pass

    def _hear(self, words: list[bytes]) -> None:
        if len(words) > 1:
            self._heard[words[1]] = frozenset(words[2:])

    def _take_news(self) -> None:
        if self._heard != self.lacking:
            self.lacking = dict(self._heard)
            if self._on_ready is None:
                self._on_news()

    def _become_ready(self) -> None:
        self._is_ready = True
        self._delay_s = _RECONNECT_MIN_S
        self.mechanisms = tuple(self._handshake)
        self._take_news()
        self._ask_flush()
        if self._on_ready is not None:
            on_ready, self._on_ready = self._on_ready, None
            on_ready()

    # -- absence ------------------------------------------------------------------------------------------

    def _lose(self, why: str) -> None:
        if self._socket is None:
            return
        self._log(Level.WARNING, f"Auth server at {self._path} is gone ({why}), connecting again")
        self.close()
        self._is_ready = self._waits_to_write = False
        self._unsent = b""
        self._out.clear()
        self._asked_at.clear()
        askers, self._askers = self._askers, {}
        self._connect_later()
        for asker in askers.values():
            asker.on_auth_lost()

    def _arm_sweep(self) -> None:
        self._sweep_armed = True
        self._reactor.call_later(1.0, self._sweep)

    def _sweep(self) -> None:
        """Give up requests that auth has had for too long, or that wait too long for auth to come back."""
        self._sweep_armed = False
        limit_s = AUTH_WAIT_S if self._is_ready else _ABSENCE_S
        late = [i for i, since in self._asked_at.items() if self._reactor.now - since > limit_s]
        for request_id in late:
            asker = self._askers[request_id]
            self.cancel(request_id)
            asker.on_auth_lost()
        if self._askers:
            self._arm_sweep()
