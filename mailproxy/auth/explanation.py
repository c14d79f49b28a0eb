"""What would become of a login, for an administrator who asks: a request whose every step is told.

It runs through an engine of its own without a cache, so it says what the databases say now; nothing of it
reaches the log or the statistics. Fields that are not known to be harmless are named without their values.
"""

from __future__ import annotations

import dataclasses
from base64 import b64encode
from collections.abc import Callable

from mailproxy.auth.chain import Chain, Link
from mailproxy.auth.database import Passdb, Row, Submit, Values
from mailproxy.auth.engine import Engine
from mailproxy.auth.mechanisms.claim import Claim
from mailproxy.auth.mechanisms.registry import OFFERS
from mailproxy.auth.request import Phase, Request
from mailproxy.auth.resolver import Resolve
from mailproxy.auth.schemes import StoredPassword, Verdict
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.config.settings import AuthSettings
from mailproxy.ipc.control import Inquiry
from mailproxy.ipc.escape import unescape

_HARMLESS = frozenset(
    (
        *("user", "host", "hostip", "port", "destuser", "master", "proxy", "proxy_maybe", "proxy_always"),
        *("proxy_mech", "proxy_timeout", "proxy_balance", "proxy_not_trusted", "proxy_nopipelining"),
        *("proxy_alternatives", "proxy_host_immediate_failure_after", "haproxy", "source_ip", "ssl"),
        *("starttls", "allow_nets", "nodelay", "nologin", "nopassword", "reason"),
    )
)


class Explanation:
    """One question on its way through the passdbs; `on_end` is called once, with all lines."""

    def __init__(
        self,
        settings: AuthSettings,
        chain: Chain,
        submit: Submit,
        resolve: Resolve,
        now_s: float,
        on_end: Callable[[list[str]], None],
    ) -> None:
        self._lines = [f"auth section: {settings.name}"]
        self._on_end = on_end
        open_hearted = dataclasses.replace(settings, verbose=True, debug=True, debug_passwords=False)
        watched = Chain(
            tuple(self._watched(link) for link in chain.ordinary),
            tuple(self._watched(link) for link in chain.masters),
        )
        self._engine = Engine(open_hearted, watched, None, submit, resolve, self._log, lambda *_used: None)
        self._engine.now = now_s

    def begin(self, inquiry: Inquiry) -> None:
        """Look for the answer, which may come at once. Call it once."""
        exchange = _Asked(inquiry)
        self._request = request = Request(self, 1, OFFERS["PLAIN"], exchange, "", self._engine.now)
        if inquiry.password is None:
            request.phase = Phase.UNCHECKED
            self._lines.append("no password was given: it is taken to be right")
        parameters = {
            b"service": inquiry.service.encode(),
            b"rip": inquiry.client.encode(),
            b"secured": b"",
            b"valid-client-cert": b"",
        }
        self._engine.begin(request, parameters, b64encode(b""))

    def expire(self) -> None:
        """Wait no longer."""
        if not self._request.is_over:
            self._engine.expire(self._request)

    def _log(self, _level: Level, text: str) -> None:
        self._lines.append(text)

    def _watched(self, link: Link) -> Link:
        return link._replace(passdb=_Watched(link.passdb, self._lines.append))

    # -- the outlet of the request ------------------------------------------------------------------------

    def challenge(self, request: Request, challenge: bytes) -> None:
        """Say that something is wrong: all was said at once."""
        raise RuntimeError("BUG: a challenge to an administrator")

    def succeed(self, request: Request, line: bytes) -> None:
        """Tell what a worker would be told."""
        fields = dict(_field(word) for word in line.rstrip(b"\n").split(b"\t")[2:])
        self._lines.append(f"accepted as {printable(fields.pop('user', ''))}")
        self._lines += [f"  {_shown(name, value)}" for name, value in fields.items()]
        if not fields.get("host"):
            self._lines.append("refused after all: neither proxy nor host, and here is no mailbox")
        self._on_end(self._lines)

    def fail(self, request: Request, line: bytes, at_once: bool) -> None:
        """Tell that the client would be refused; why is in the lines before."""
        is_temporary = b"temp" in line.rstrip(b"\n").split(b"\t")[2:]
        self._lines.append("refused for now: a temporary failure" if is_temporary else "refused")
        self._on_end(self._lines)

    def deliver(self, request: Request, line: bytes) -> None:
        """Take a line whose beat has come, which none of ours waits for."""


class _Asked:
    """An exchange in which everything was said before it began."""

    def __init__(self, inquiry: Inquiry) -> None:
        proof = _Trust() if inquiry.password is None else None
        self._claim = Claim(inquiry.user, b"", inquiry.password, proof)

    def respond(self, _response: bytes | None) -> Claim:
        return self._claim


class _Trust:
    """In place of a master's password, which the administrator need not know either."""

    scheme = "PLAIN"

    def verify(self, _stored: StoredPassword) -> Verdict:
        return Verdict.MATCH

    def final_challenge(self) -> bytes:
        return b""


class _Watched:
    """A passdb that tells what it found."""

    def __init__(self, passdb: Passdb, say: Callable[[str], None]) -> None:
        self._passdb = passdb
        self._say = say
        self.driver = passdb.driver
        self.default_scheme = passdb.default_scheme
        self.blocking = passdb.blocking
        self.cache_key = passdb.cache_key

    def lookup(self, values: Values) -> Row | None:
        name = printable(values["u"])
        try:
            row = self._passdb.lookup(values)
        except LookupFailure:
            self._say(f"passdb {self.driver} failed for {name}")
            raise
        if row is None:
            self._say(f"passdb {self.driver} has no row for {name}")
            return None
        if row.password is None:
            password = "NULL, so any will do"
        else:
            password = "stored" if row.password else "empty, so nobody's"
        self._say(f"passdb {self.driver} has a row for {name}; password: {password}")
        for field, value in row.fields.items():
            self._say(f"  {_shown(field, value)}")
        return row

    def close(self) -> None:
        raise RuntimeError("BUG: closed by an explanation")


def _field(word: bytes) -> tuple[str, str]:
    name, _, value = word.partition(b"=")
    return _text(name), _text(value)


def _text(raw: bytes) -> str:
    return unescape(raw).decode("utf-8", "surrogateescape")


def _shown(name: str, value: str) -> str:
    if name in _HARMLESS:
        return f"{name}={printable(value)}" if value else name
    return f"{printable(name)}=(not shown)"
