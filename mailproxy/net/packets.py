"""Packets on their way to a peer who may be slow, and who may never hold up the loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from mailproxy.net.reactor import WRITE, Reactor, Timer

# Who takes nothing for so long is dropped.
_STALL_S = 5.0


class PacketSender:
    """Sends one packet a batch, as `packets` yields them; owns the descriptor and closes it at the end.

    `on_end` is called once: all was said, or the peer has left or does not read.
    """

    def __init__(
        self, reactor: Reactor, fd: int, packets: Iterator[bytes], on_end: Callable[[PacketSender], None]
    ) -> None:
        self._reactor = reactor
        self._sock = socket.socket(fileno=fd)
        self._packets = packets
        self._on_end = on_end
        self._unsent = b""
        self._timer: Timer = reactor.call_later(_STALL_S, self.close)
        reactor.add(fd, WRITE, self._on_writable)

    def _on_writable(self, _events: int) -> None:
        packet = self._unsent or next(self._packets, b"")
        if not packet:
            self.close()
            return
        try:
            # Others have copies of this socket, so its mode is not ours to change.
            self._sock.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            self._unsent = packet
            return
        except OSError:
            self.close()
            return
        self._unsent = b""
        self._reactor.cancel(self._timer)
        self._timer = self._reactor.call_later(_STALL_S, self.close)

    def close(self) -> None:
        """Say no more."""
        self._reactor.cancel(self._timer)
        self._reactor.remove(self._sock.fileno())
        self._sock.close()
        self._on_end(self)
