"""Listening TCP sockets, whose options every accepted connection inherits."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address

_BACKLOG = 4096


def listen_tcp(host: str, port: int) -> socket.socket:
    """Listen on an address; `*` is every IPv4 one, `::` every one. Raises OSError, gaierror among them."""
    if host == "*":
        return _bind(socket.AF_INET, ("0.0.0.0", port))
    if host == "::":
        try:
            return _bind(socket.AF_INET6, ("::", port))
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise
            return _bind(socket.AF_INET, ("0.0.0.0", port))
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return _bind(family, address)


def make_ready(listener: socket.socket) -> None:
    """Listen on a bound socket, or go on listening on one that somebody else has opened. Raises OSError."""
    # Linux gives these to each accepted connection: two system calls fewer a login. Without NODELAY an
    # answer in two pieces waits 40 ms; without KEEPALIVE a client that lost its network stays for ever.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    listener.listen(_BACKLOG)


def is_bound_to(listener: socket.socket, host: str, port: int) -> bool:
    """Whether `listen_tcp` would have bound this socket, for the same host and port."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6) or listener.type != socket.SOCK_STREAM:
        return False
    name = listener.getsockname()
    if name[1] != port:
        return False
    if host in ("*", "::"):
        return str(name[0]) in ("0.0.0.0", "::") and (host == "::" or listener.family == socket.AF_INET)
    return ip_address(name[0]) == ip_address(host)


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        make_ready(listener)
    except OSError:
        listener.close()
        raise
    return listener
