"""What the kernel has counted on a TCP connection."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

# struct tcp_info of <linux/tcp.h>: tcpi_data_segs_in and tcpi_data_segs_out, since Linux 4.6.
_FIELDS = struct.Struct("=152xII")


class Packets(NamedTuple):
    """Segments with data."""

    received: int
    sent: int


def packets_with_data(sock: socket.socket) -> Packets:
    """Return how many segments with data have passed so far."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    return Packets(*_FIELDS.unpack(info))
