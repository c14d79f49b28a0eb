"""Accepting clients from listeners that several workers share."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable, Sequence
from functools import partial
from socket import SocketType

from mailproxy.base.level import Level
from mailproxy.net.reactor import DATA, Reactor
from mailproxy.net.tls import Socket

# The kernel wakes the worker that has waited on the listener for longest, always the same one when all are
# idle. Going to the end of the queue after so many accepts spreads sessions evenly for little.
_ACCEPTS_PER_PLACE = 8
_STREAM = int(socket.SOCK_STREAM)
_PAUSE_S = 0.5
# Descriptors or memory are used up: accepting again at once would spin (accept(2)).
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# tcpi_state, the first byte of struct tcp_info: TCP_ESTABLISHED of <netinet/tcp.h>.
_ESTABLISHED = b"\x01"

OnAccept = Callable[[SocketType, tuple[str, int], socket.socket], None]


class Acceptor:
    """Takes at most one client per listener and batch, so that sessions under way are not starved.

    Listeners belong to the caller. `on_accept` gets the client's socket, which it owns, his address and the
    listener. Behind `tls_listeners` that is a `Socket`, which TLS takes over as it is; one that begins in the
    clear is emptied when TLS begins, so that who held it can say nothing in the clear any more.
    """

    def __init__(
        self,
        reactor: Reactor,
        listeners: Sequence[socket.socket],
        on_accept: OnAccept,
        log: Callable[[Level, str], None],
        tls_listeners: Sequence[socket.socket] = (),
    ) -> None:
        self._reactor = reactor
        self._listeners = list(listeners)
        self._makers = {
            listener: partial(
                Socket if listener in tls_listeners else SocketType, int(listener.family), _STREAM, 0
            )
            for listener in listeners
        }
        self._on_accept = on_accept
        self._log = log
        self._accepted = 0
        self._pauses = 0
        self._is_paused = False
        self.is_listening = False

    def listen(self) -> None:
        """Accept from now on."""
        if not self.is_listening:
            self.is_listening = True
            self._watch()

    def stop(self) -> None:
        """Accept no more; connects wait in the kernel's queue for other workers."""
        if self.is_listening:
            self.is_listening = False
            self._unwatch()

    def _watch(self) -> None:
        if not self._is_paused:
            for listener in self._listeners:
                self._add(listener)

    def _unwatch(self) -> None:
        if not self._is_paused:
            for listener in self._listeners:
                self._reactor.remove(listener.fileno())

    def _add(self, listener: socket.socket) -> None:
        # EXCLUSIVE: one connect wakes one worker, not all of them.
        self._reactor.add(listener.fileno(), DATA | select.EPOLLEXCLUSIVE, partial(self._accept, listener))

    def _accept(self, listener: socket.socket, _events: int) -> None:
        if not self.is_listening or self._is_paused:
            return
        try:
            # What listener.accept() does, without its conversions to enums and its wrapper class: 3 us less.
            fd, address = listener._accept()  # type: ignore[attr-defined]
            client = self._makers[listener](fd)
        except BlockingIOError:
            return  # Another worker was faster.
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._pause(error)
            return  # Anything else is the fate of one connection (accept(2)): it was reset before we came.
        self._on_accept(client, address, listener)
        self._accepted += 1
        if self._accepted >= _ACCEPTS_PER_PLACE and self.is_listening:
            self._accepted = 0
            self._reactor.remove(listener.fileno())
            self._add(listener)

    def _pause(self, error: OSError) -> None:
        if self._pauses % 4 == 0:
            self._log(Level.ERROR, f"accept() failed: {error.strerror}; pausing until descriptors are free")
        self._pauses += 1
        self._unwatch()
        self._is_paused = True
        self._reactor.call_later(_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        if self.is_listening:
            self._watch()


def has_left(client: SocketType) -> bool:
    """Tell whether one who was just accepted, and has said nothing, will say nothing. Does not block."""
    try:
        # True of nearly everybody, and learnt without an exception, for which some 25 pages are copied in a
        # process of his own.
        if client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == _ESTABLISHED:
            return False
        return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
