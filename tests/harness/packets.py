"""What the kernel has counted on a TCP connection."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

# struct tcp_info of <linux/tcp.h>: tcpi_segs_in, and tcpi_data_segs_in since Linux 4.6.
_FIELDS = struct.Struct("=140xI8xI")


class Packets(NamedTuple):
    """What has come, acknowledgements and ends included, and what of it had data."""

    received: int
    with_data: int


def packets(sock: socket.socket) -> Packets:
    """Return how many have come so far."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    return Packets(*_FIELDS.unpack(info))
