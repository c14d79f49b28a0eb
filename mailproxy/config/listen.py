"""The addresses of `listen` and `ssl_listen`."""

from __future__ import annotations

import ipaddress

from mailproxy.base.text import printable
from mailproxy.config.settings import Address

PORTS = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}


def addresses(setting: str, value: str, default_port: int, own_port: bool = True) -> tuple[Address, ...]:
    """Read a list of addresses, split by commas and spaces; `own_port=False` takes the hosts alone.

    Names are not resolved: nothing here touches the network. Raises ValueError with Dovecot's text.
    """
    words = value.replace(",", " ").split()
    if not words:
        raise ValueError(f"{setting}: No IPs for address: {printable(value)}")
    found = [_address(setting, word, default_port) for word in words]
    if not own_port:
        return tuple(dict.fromkeys(Address(address.host, default_port) for address in found))
    return tuple(found)


def _address(setting: str, word: str, default_port: int) -> Address:
    host, port = word, ""
    if word.startswith("["):
        host, bracket, port = word[1:].partition("]")
        if not bracket:
            raise ValueError(f"{setting}: Missing ']' in address {printable(word)}")
        if port and not port.startswith(":"):
            raise ValueError(f"{setting}: Invalid port in address {printable(word)}")
    elif word.count(":") == 1:
        host, colon, port = word.partition(":")
        port = colon + port
    if port:
        return Address(_host(setting, host), _port(setting, port[1:], word))
    return Address(_host(setting, host), default_port)


def _port(setting: str, text: str, word: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError(f"{setting}: Invalid port in address {printable(word)}")
    return int(text)


def _host(setting: str, host: str) -> str:
    if host in ("*", "::"):
        return host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(
            f"{setting}: Can't resolve address {printable(host)}: only IP addresses, '*' and '[::]' are taken"
        ) from None
