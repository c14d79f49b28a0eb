"""The control socket: how an administrator speaks with the running master (`ipc.control`).

Only root and the master's own user are heard. Who asks about clients gets his answer from the workers: they
are handed copies of his descriptor, so that the master reads nothing that they say about clients.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.ipc.control import (
    REQUEST_BYTES,
    SOCKET_NAME,
    Reply,
    Request,
    parse_request,
    render_reply,
)
from mailproxy.ipc.status import Order
from mailproxy.net.reactor import READ, Reactor
from mailproxy.process import run_dir
from mailproxy.process.spawner import Child

_CREDENTIALS = struct.Struct("3i")
# A requester says what he wants at once.
_REQUEST_S = 5.0
_REQUESTERS = 16
_REPORTS_S = 0.1

OnDone = Callable[[Sequence[str]], None]
Ask = Callable[[Order, bytes, socket.socket], None]
"""Has children answer an order at a requester's socket, which stays the caller's."""


def ask(children: Sequence[Child], order: Order, argument: bytes, sock: socket.socket) -> None:
    """Give the order to children, and tell the requester how many they are."""
    asked = sum(child.order(order, argument, [sock.fileno()]) for child in children)
    with contextlib.suppress(OSError):
        sock.send(render_reply(Reply.ASKED, b"%d" % asked), socket.MSG_DONTWAIT)


class Actions(NamedTuple):
    """What the master does when asked; those with `OnDone` tell the problems there, none for success."""

    status: Callable[[], str]
    workers: Callable[[], list[Child]]
    ask_workers: Ask
    """Those of masters before an upgrade too."""
    auth: Callable[[], Child | None]
    reload: Callable[[OnDone], None]
    upgrade: Callable[[OnDone], None]
    stop: Callable[[], None]


class Control:
    """Owns the socket and its name. Requesters live until they are answered or leave."""

    def __init__(self, base_dir: str, *, is_hidden: bool = False) -> None:
        """Listen, from before the master becomes a daemon. Raises ConfigError.

        With `is_hidden` the name is still another master's, until `publish`.
        """
        self._path = os.path.join(base_dir, SOCKET_NAME)
        self._hidden = run_dir.hidden_name(self._path, "new") if is_hidden else ""
        name = self._hidden or self._path
        self._listener = run_dir.listen_unix(name, 0o600, -1, -1, socket.SOCK_SEQPACKET)
        self._place = _inode(name)
        self._requesters: set[_Requester] = set()
        self._reactor: Reactor
        self._log: Callable[[Level, str], None]
        self.actions: Actions

    def start(self, reactor: Reactor, log: Callable[[Level, str], None], actions: Actions) -> None:
        """Answer from now on."""
        self._reactor, self._log, self.actions = reactor, log, actions
        reactor.add(self._listener.fileno(), READ, self._on_requester)

    def remove_leftover(self) -> None:
        """Remove what a master that was to take the name has left behind."""
        with contextlib.suppress(OSError):
            os.unlink(run_dir.hidden_name(self._path, "new"))

    def publish(self) -> None:
        """Take the name from the master of before."""
        if self._hidden:
            try:
                os.rename(self._hidden, self._path)
            except OSError as error:
                # It serves for all that: no reason to end, when the one of before has let go.
                text = f"Can't take over {self._path}: {error.strerror}: mailproxyctl finds nobody there"
                self._log(Level.ERROR, text)
            self._hidden = ""

    def leave(self) -> None:
        """Hear nobody new; the name is for another master to take."""
        self._reactor.remove(self._listener.fileno())
        self._listener.close()

    def _on_requester(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        _, uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        sock.setblocking(False)
        requester = _Requester(self._reactor, sock, partial(self._on_request, uid), self._requesters.discard)
        self._requesters.add(requester)
        if uid not in (0, os.geteuid()):
            requester.fail("only root and the user whom mailproxy runs as may ask")
        elif len(self._requesters) > _REQUESTERS:
            requester.fail("too many others are asking; try again")

    def _on_request(self, uid: int, requester: _Requester, packet: bytes) -> None:
        try:
            request, argument = parse_request(packet)
        except PeerViolation as error:
            requester.fail(str(error))
            return
        if request in (Request.RELOAD, Request.STOP, Request.KICK, Request.UPGRADE):
            what = f"{request.name.lower()} {printable(argument)}".rstrip()
            self._log(Level.INFO, f"mailproxyctl {what} (uid {uid})")
        actions = self.actions
        if request is Request.STATUS:
            # Workers that share connections tell their numbers only now and then, unless they are asked.
            for worker in actions.workers():
                worker.order(Order.PING)
            requester.finish_later(_REPORTS_S, actions.status)
        elif request is Request.WHO:
            requester.hand_on(actions.ask_workers, Order.WHO)
        elif request is Request.KICK:
            requester.hand_on(actions.ask_workers, Order.KICK, argument)
        elif request is Request.RELOAD:
            actions.reload(requester.on_done)
        elif request is Request.UPGRADE:
            actions.upgrade(requester.on_done)
        elif request is Request.STOP:
            # The end of the connection is that of the master.
            actions.stop()
        else:
            self._explain(requester)

    def _explain(self, requester: _Requester) -> None:
        auth = self.actions.auth()
        if auth is None:
            requester.fail("no auth process is ready")
        else:
            requester.hand_on(partial(ask, [auth]), Order.EXPLAIN)

    def close(self) -> None:
        """Close the socket, and remove its name unless it is another's by now."""
        self._listener.close()
        path = self._hidden or self._path
        if _inode(path) == self._place:
            with contextlib.suppress(OSError):
                os.unlink(path)


class _Requester:
    """One connection of `mailproxyctl`. We answer with a packet or two, so a full socket is his own fault."""

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_request: Callable[[_Requester, bytes], None],
        on_end: Callable[[_Requester], None],
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._on_request = on_request
        self._on_end = on_end
        self._has_asked = False
        self._is_closed = False
        self._timer = reactor.call_later(_REQUEST_S, self._close)
        reactor.add(sock.fileno(), READ, self._on_readable)

    def _on_readable(self, _events: int) -> None:
        try:
            packet = self._sock.recv(REQUEST_BYTES + 1)
        except OSError:
            packet = b""
        if not packet or self._has_asked:
            self._close()
            return
        self._has_asked = True
        self._reactor.cancel(self._timer)
        self._on_request(self, packet)

    def finish(self, text: str) -> None:
        """Answer, and nothing more."""
        self._say(Reply.TEXT, text)
        self._close()

    def finish_later(self, delay_s: float, text: Callable[[], str]) -> None:
        """Answer what is true then."""
        self._reactor.call_later(delay_s, lambda: self.finish(text()))

    def fail(self, text: str) -> None:
        """Say why not."""
        self._say(Reply.FAILURE, text)
        self._close()

    def on_done(self, problems: Sequence[str]) -> None:
        """Answer what has taken some time."""
        if problems:
            self.fail("\n".join(problems))
        else:
            self.finish("")

    def hand_on(self, ask: Ask, order: Order, argument: bytes = b"") -> None:
        """Let children answer in our place."""
        ask(order, argument, self._sock)
        self._close()

    def _say(self, kind: Reply, text: str) -> None:
        if not self._is_closed:
            with contextlib.suppress(OSError):
                self._sock.send(render_reply(kind, text.encode("utf-8", "backslashreplace")))

    def _close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._reactor.cancel(self._timer)
            self._reactor.remove(self._sock.fileno())
            self._sock.close()
            self._on_end(self)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
