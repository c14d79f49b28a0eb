"""Descriptors that the service manager passes: ports it listens on in our place, and what it has kept for us.

See sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence

_FIRST_FD = 3

Passed = tuple[str, int]
"""A name, empty when there is none, and a descriptor."""


def passed_fds(environment: MutableMapping[str, str]) -> list[Passed]:
    """Take what was passed to this very process; nobody finds it in the environment afterwards.

    What is passed twice, by a socket unit and out of the store, is returned once.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    if len(names) != int(count):
        names = [""] * int(count)
    found: dict[tuple[int, int], Passed] = {}
    for fd, name in enumerate(names, _FIRST_FD):
        try:
            status = os.fstat(fd)
        except OSError:
            continue
        os.set_inheritable(fd, False)
        if (status.st_dev, status.st_ino) in found:
            os.close(fd)
        else:
            found[status.st_dev, status.st_ino] = name, fd
    return list(found.values())


def as_sockets(passed: Sequence[Passed]) -> list[socket.socket]:
    """Return the sockets among these; what is no socket is closed."""
    found = []
    for _, fd in passed:
        try:
            found.append(socket.socket(fileno=fd))
        except OSError:
            os.close(fd)
    return found
