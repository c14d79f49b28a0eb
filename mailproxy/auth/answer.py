"""How a request ends: with an OK that says where to go, or with a FAIL that says as little as possible."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mailproxy.auth.balance import Balance
from mailproxy.auth.destination import fields_of
from mailproxy.auth.fields import Account
from mailproxy.auth.journal import Journal
from mailproxy.auth.request import Request
from mailproxy.auth.resolver import Addresses, Resolve
from mailproxy.auth.target_fields import Approach, Destination
from mailproxy.ipc.auth_server_lines import render_fail, render_ok, render_words

Used = Callable[[str, Approach, str], None]
"""Hears of each login that goes to a backend: service, backend, its addresses split by commas."""


class Answers:
    """Gives each request its one last line, and takes its secrets from it."""

    def __init__(
        self, journal: Journal, resolve: Resolve, balance: Balance, now: Callable[[], float], used: Used
    ) -> None:
        self._journal = journal
        self._used = used
        self._resolve = resolve
        self._balance = balance
        self._now = now
        self._overload_quiet_until = 0.0

    def succeed(self, request: Request, account: Account) -> None:
        """Let the user in, as `account` says; names are resolved first."""
        destination = account.destination
        if destination is None:
            if account.approach is not None:
                self._used(request.service, account.approach, account.addresses)
            return self._admit(request, account, account.words)
        names = {server.host for server in destination.servers if server.is_name}
        self._resolve(names, partial(self._place, request, account, destination))

    def _place(
        self,
        request: Request,
        account: Account,
        destination: Destination,
        resolved: dict[str, Addresses],
        failures: dict[str, str],
    ) -> None:
        if request.is_over:
            return
        for name, failure in failures.items():
            self._journal.error(request, "proxy", f"DNS lookup of {name} failed: {failure}")
        user = _name(request)
        servers = self._balance.order(destination.servers, destination.balance, user, self._now())
        place = fields_of(destination, servers, request.service, resolved)
        if place:
            if account.approach is not None:
                approach = account.approach._replace(host=place["host"], port=place.get("port", ""))
                self._used(request.service, approach, place.get("hostip") or approach.host)
            return self._admit(request, account, account.words + render_words(place))
        if not failures:
            text = "no server in field 'host' has an address of the family of field 'source_ip'"
            self._journal.error(request, "proxy", text)
        self.fail(request, temporary=True)

    def _admit(self, request: Request, account: Account, words: bytes) -> None:
        password = None
        if account.forwards_typed:
            password = request.password if request.token is None else request.token
        line = render_ok(request.request_id, _name(request), words, password)
        final = request.proof.final_challenge() if request.proof is not None else b""
        if not final:
            return self.deliver(request, line)
        # Neither IMAP nor POP3 can send data along with a success, so it goes ahead as a challenge.
        request.final_line = line
        request.awaits_client = True
        request.outlet.challenge(request, final)

    def deliver(self, request: Request, line: bytes) -> None:
        """Send an OK line that was made before."""
        request.is_over = True
        request.password = request.token = None
        request.outlet.succeed(request, line)

    def fail(self, request: Request, temporary: bool = False) -> None:
        """Refuse, at the next beat unless the row said `nodelay`."""
        request.is_over = True
        # It may wait for the beat with thousands of others: without the secret and the weight.
        request.password = request.token = None
        request.values = {}
        user = None if request.user is None else request.user.encode("utf-8", "surrogateescape")
        request.outlet.fail(request, render_fail(request.request_id, user, temporary), request.nodelay)

    def reject(self, request: Request, reason: bytes) -> None:
        """Refuse at once what is no proper request; the client is told why."""
        self._journal.note(request, request.offer.label, reason.decode())
        request.is_over = True
        request.outlet.fail(request, render_fail(request.request_id, None, reason=reason), True)

    def overloaded(self, request: Request, now: float) -> None:
        """Refuse for now, as no thread can take the work."""
        # One line a second: a flood of requests must not become a flood of lines.
        if now >= self._overload_quiet_until:
            self._overload_quiet_until = now + 1.0
            self._journal.error(request, "auth", "All auth workers are busy")
        self.fail(request, temporary=True)


def _name(request: Request) -> bytes:
    return (request.user or "").encode("utf-8", "surrogateescape")
