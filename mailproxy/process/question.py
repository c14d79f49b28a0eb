"""What the master has auth ask backends; apart from who asks, whom the master need not load."""

from __future__ import annotations

from typing import NamedTuple

from mailproxy.net.tls_context import TlsContexts


class Question(NamedTuple):
    """What is to be known about the backends of one protocol, and how they are reached."""

    words: frozenset[bytes]
    """The capabilities of ours that a backend decides, upper case; if there is none nobody is asked."""
    tls: TlsContexts | None
    source_ips: tuple[str, ...]
    """The setting `login_source_ips`."""
