"""Sockets that the service manager listens on in our place (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

_FIRST_FD = 3


def passed_sockets(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """Take what was passed to this very process; nobody finds it in the environment afterwards.

    A descriptor that is no socket is closed.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for fd in range(_FIRST_FD, _FIRST_FD + int(count)):
        try:
            sock = socket.socket(fileno=fd)
        except OSError:
            os.close(fd)
            continue
        os.set_inheritable(fd, False)
        found.append(sock)
    return found
