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
from mailproxy.ipc.auth_protocol import KNOWN_MECHANISMS, Mechanism


class Offer(NamedTuple):
    """A mechanism as announced, how a run of it begins, and its name as log lines write it."""

    announced: Mechanism
    begin: Callable[[Context], Exchange]
    label: str


def _offer(name: str, begin: Callable[[Context], Exchange]) -> Offer:
    return Offer(KNOWN_MECHANISMS[name], begin, name.lower())


TOKEN_MECHANISMS = frozenset(("XOAUTH2", "OAUTHBEARER"))
OFFERS: dict[str, Offer] = {
    "PLAIN": _offer("PLAIN", Plain),
    "LOGIN": _offer("LOGIN", Login),
    "CRAM-MD5": _offer("CRAM-MD5", CramMd5),
    "DIGEST-MD5": _offer("DIGEST-MD5", DigestMd5),
    "XOAUTH2": _offer("XOAUTH2", Xoauth2),
    "OAUTHBEARER": _offer("OAUTHBEARER", OAuthBearer),
    "APOP": _offer("APOP", Apop),
}
