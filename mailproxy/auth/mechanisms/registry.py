"""The mechanisms that exist, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mailproxy.auth.mechanisms.apop import Apop
from mailproxy.auth.mechanisms.bearer import OAuthBearer, Xoauth2
from mailproxy.auth.mechanisms.claim import Context, Exchange
from mailproxy.auth.mechanisms.cram_md5 import CramMd5
from mailproxy.auth.mechanisms.digest_md5 import DigestMd5
from mailproxy.auth.mechanisms.login import Login
from mailproxy.auth.mechanisms.plain import Plain
from mailproxy.ipc.auth_protocol import Mechanism


class Offer(NamedTuple):
    """A mechanism as announced, how a run of it begins, and its name as log lines write it."""

    announced: Mechanism
    begin: Callable[[Context], Exchange]
    label: str


def _offer(name: str, flags: str, begin: Callable[[Context], Exchange]) -> Offer:
    words = frozenset(flag.encode() for flag in flags.split())
    return Offer(Mechanism(name.encode(), words), begin, name.lower())


TOKEN_MECHANISMS = frozenset(("XOAUTH2", "OAUTHBEARER"))
OFFERS: dict[str, Offer] = {
    "PLAIN": _offer("PLAIN", "plaintext", Plain),
    "LOGIN": _offer("LOGIN", "plaintext", Login),
    "CRAM-MD5": _offer("CRAM-MD5", "dictionary active", CramMd5),
    "DIGEST-MD5": _offer("DIGEST-MD5", "dictionary active mutual-auth", DigestMd5),
    # Whoever reads a token can use it, so it counts as a password.
    "XOAUTH2": _offer("XOAUTH2", "plaintext", Xoauth2),
    "OAUTHBEARER": _offer("OAUTHBEARER", "plaintext", OAuthBearer),
    "APOP": _offer("APOP", "private dictionary active", Apop),
}
