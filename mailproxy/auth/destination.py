"""Which of a row's servers and addresses a user goes to, and which ones are tried after that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from mailproxy.auth.target_fields import Destination, Server, of_family

# Enough tries for any login's time, and a line that no worker finds too long.
_ALTERNATIVES = 64
_DEFAULT_PORTS = {
    ("imap", False): "143",
    ("imap", True): "993",
    ("pop3", False): "110",
    ("pop3", True): "995",
}


def in_order(destination: Destination, user: bytes) -> tuple[Server, ...]:
    """Return the servers in the order to try for one user.

    `hash` is rendezvous hashing: each proxy finds the same order without asking another, and when a server
    is taken away only its own users move. Ports do not count, so that IMAP and POP3 agree, unless names are
    equal. `least` is `hash` too: auth cannot know what the relays of all workers carry, and a user whose
    sessions are together on one server costs less than one that is spread.
    """
    servers = destination.servers
    if destination.balance == "first" or len(servers) == 1:
        return servers

    def score(server: Server) -> tuple[bytes, bytes]:
        host = server.host.lower().encode()
        return _digest(user, host), _digest(user, host + b":" + server.port.encode())

    return tuple(sorted(servers, key=score, reverse=True))


def _digest(user: bytes, server: bytes) -> bytes:
    # The length keeps user and server apart, whatever bytes are in a name.
    return blake2b(b"%d:%s%s" % (len(user), user, server), digest_size=8).digest()


def fields_of(
    destination: Destination,
    user: bytes,
    service: str,
    resolved: Mapping[str, tuple[str, ...]],
) -> dict[str, str]:
    """Return `host`, `hostip`, `port` and `proxy_alternatives`; nothing if no server has a usable address.

    `resolved` has the addresses of each name. `hostip` is there when `host` is a name. An alternative is
    `host/ip/port`, where an empty port is the same as that of `host`; blanks part them.
    """
    default_port = _DEFAULT_PORTS.get((service, destination.has_tls_port), "")
    chosen: dict[str, str] = {}
    alternatives: list[str] = []
    for server in in_order(destination, user):
        known = resolved.get(server.host, ()) if server.is_name else (server.host,)
        addresses = of_family(known, destination.source_ip)
        if not addresses:
            continue
        if chosen:
            port = server.port or (default_port if "port" in chosen else "")
            alternatives += [f"{server.host}/{address}/{port}" for address in addresses]
            continue
        chosen["host"] = server.host
        if server.is_name:
            chosen["hostip"] = ",".join(addresses)
        if server.port:
            chosen["port"] = server.port
    if alternatives:
        chosen["proxy_alternatives"] = " ".join(alternatives[:_ALTERNATIVES])
    return chosen
