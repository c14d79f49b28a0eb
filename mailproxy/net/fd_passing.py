"""Packets with descriptors over a Unix socket (unix(7), SCM_RIGHTS)."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Sequence

# The kernel takes no more in one packet (SCM_MAX_FD).
MAX_FDS = 253
_FD_BYTES = array.array("i").itemsize


def send_packet(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Send one packet without waiting; the descriptors stay ours too. Raises OSError."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def receive_packet(sock: socket.socket, limit_bytes: int, max_fds: int = MAX_FDS) -> tuple[bytes, list[int]]:
    """Take one packet, empty at the end, and its descriptors, which are the caller's and close on exec.

    Raises OSError, BlockingIOError among them, and ValueError for a packet of which a part was cut off.
    """
    space = socket.CMSG_SPACE(max_fds * _FD_BYTES)
    data, ancillary, flags, _ = sock.recvmsg(limit_bytes, space, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(body[: len(body) - len(body) % _FD_BYTES])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(fds)
        raise ValueError("a packet was cut off")
    return data, list(fds)


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors that came with a packet nobody wants."""
    for fd in fds:
        os.close(fd)
