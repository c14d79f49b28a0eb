"""Which addresses a user goes to, and which ones are tried after that. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mailproxy.auth.target_fields import Destination, Server, of_family

# Enough tries for any login's time, and a line that no worker finds too long.
_ALTERNATIVES = 64
DEFAULT_PORTS = {
    ("imap", False): "143",
    ("imap", True): "993",
    ("pop3", False): "110",
    ("pop3", True): "995",
}
"""By service and by whether TLS comes first."""


def fields_of(
    destination: Destination,
    servers: tuple[Server, ...],
    service: str,
    resolved: Mapping[str, tuple[str, ...]],
) -> dict[str, str]:
    """Return `host`, `hostip`, `port` and `proxy_alternatives`; nothing if no server has a usable address.

    `servers` are those of `destination` in the order to try. `resolved` has the addresses of each name.
    `hostip` is there when `host` is a name. An alternative is `host/ip/port`, where an empty port is the
    same as that of `host`; blanks part them.
    """
    default_port = DEFAULT_PORTS.get((service, destination.has_tls_port), "")
    chosen: dict[str, str] = {}
    alternatives: list[str] = []
    for server in servers:
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
