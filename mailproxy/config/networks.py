"""The networks and addresses of peers: who is believed, and where connections to backends come from."""

from __future__ import annotations

import ipaddress

from mailproxy.base.text import printable


def networks(setting: str, value: str) -> tuple[str, ...]:
    """Read a list of `IP` and `IP/bits`, split by commas and spaces; bits behind the mask do not count.

    Raises ValueError, which names the setting and the word.
    """
    return tuple(_network(setting, word) for word in _words(value))


def source_ips(setting: str, value: str) -> tuple[str, ...]:
    """Read a list of IP addresses; a `?` in front of them all stays in front of the first.

    Raises ValueError, which names the setting and the word.
    """
    value = value.strip()
    mark = value[:1] if value.startswith("?") else ""
    found = tuple(_address(setting, word) for word in _words(value.removeprefix("?")))
    if mark and not found:
        raise ValueError(f"{setting}: no address follows the ?")
    return (mark + found[0], *found[1:]) if found else ()


def _words(value: str) -> list[str]:
    return value.replace(",", " ").split()


def _network(setting: str, word: str) -> str:
    _, slash, bits = word.partition("/")
    try:
        if slash and not (bits.isascii() and bits.isdigit()):
            raise ValueError
        return str(ipaddress.ip_network(word, strict=False))
    except ValueError:
        text = f"{setting}: Invalid network {printable(word)}"
        raise ValueError(f"{text}: give an IP address, or one and its bits, such as 192.0.2.0/24") from None


def _address(setting: str, word: str) -> str:
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        raise ValueError(f"{setting}: {printable(word)} is not an IP address") from None
