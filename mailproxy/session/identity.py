"""For whom a peer speaks: what proxies tell each other by IMAP's ID and POP3's XCLIENT.

A claim is believed as a whole or not at all, and only from a peer in `login_trusted_networks`. The names are
those that Dovecot gave to ID; POP3's frontend translates its own.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from mailproxy.base.text import printable
from mailproxy.proto.backend import Identity
from mailproxy.session.client import Client

LAST_PORT = 65535
_SESSION_ID = re.compile(rb"[!#-\[\]-~]{1,64}")
_NUMBER = re.compile(rb"[0-9]{1,5}")
_LOGGED_CHARS = 256

Parameters = dict[bytes, bytes]
"""Lower-case names; NIL is left out."""


def identity_of(client: Client) -> Identity:
    """Return what the next hop is told."""
    return Identity(
        client.session_id.encode("ascii", "replace"),
        client.rip.encode("ascii", "replace"),
        client.rport,
        client.lip.encode("ascii", "replace"),
        client.lport,
        client.proxy_ttl - 1,
    )


class Claims:
    """What a client says of himself, if he is trusted, and what we had seen ourselves before."""

    __slots__ = ("_client", "_seen")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen: tuple[str, int, str, int, str, int] | None = None

    def take(self, parameters: Parameters) -> bool:
        """Believe a trusted peer; False if one of his words is nonsense.

        Anybody may say that a login was passed on too often: that harms nobody but himself, and ends rings of
        proxies that do not trust each other.
        """
        client = self._client
        if self._seen is None:
            self._seen = (
                client.rip,
                client.rport,
                client.lip,
                client.lport,
                client.session_id,
                client.proxy_ttl,
            )
        if client.is_trusted:
            return claim(client, parameters)
        ttl = parameters.get(b"x-proxy-ttl", b"")
        if _NUMBER.fullmatch(ttl) is not None:
            client.proxy_ttl = min(client.proxy_ttl, int(ttl))
        return True

    def forget(self) -> None:
        """Forget what was said in the clear (CVE-2021-37845)."""
        if self._seen is not None:
            client = self._client
            client.rip, client.rport, client.lip, client.lport, client.session_id, client.proxy_ttl = (
                self._seen
            )


class _BadClaim(Exception):
    pass


def claim(client: Client, parameters: Parameters) -> bool:
    """Put a trusted peer's words in place of what we saw; False if one of them is nonsense."""
    get = parameters.get
    try:
        rip = _address(get(b"x-originating-ip"), client.rip)
        rport = _number(get(b"x-originating-port"), client.rport)
        lip = _address(get(b"x-connected-ip"), client.lip)
        lport = _number(get(b"x-connected-port"), client.lport)
        proxy_ttl = _number(get(b"x-proxy-ttl"), client.proxy_ttl)
    except _BadClaim:
        return False
    session_id = get(b"x-session-id")
    if session_id is not None and _SESSION_ID.fullmatch(session_id) is None:
        return False
    client.rip, client.rport, client.lip, client.lport = rip, rport, lip, lport
    client.proxy_ttl = min(proxy_ttl, client.proxy_ttl)
    if session_id is not None:
        client.session_id = session_id.decode("ascii")
    return True


def _address(value: bytes | None, default: str) -> str:
    if value is None:
        return default
    try:
        address = ip_address(value.decode("ascii", "replace"))
    except ValueError:
        raise _BadClaim from None
    if getattr(address, "scope_id", None):
        raise _BadClaim
    return str(address)


def _number(value: bytes | None, default: int) -> int:
    if value is None:
        return default
    if _NUMBER.fullmatch(value) is None or int(value) > LAST_PORT:
        raise _BadClaim
    return int(value)


def describe(parameters: Parameters, wanted: str) -> str:
    """Return the fields of an ID that the administrator wants in the log, printable and cut; `*` is all."""
    names = wanted.lower().encode("ascii", "replace").split()
    chosen = [
        b"%s=%s" % (name, value) for name, value in parameters.items() if b"*" in names or name in names
    ]
    return printable(b", ".join(chosen), _LOGGED_CHARS)
