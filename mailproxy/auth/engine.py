"""Moves a request on: mechanism, user name, passdbs in order, password, fields, answer.

Pure but for what is passed in: threads through `submit`, time through `now`, log lines through `log`.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import partial

from mailproxy.auth.answer import Answers, Used
from mailproxy.auth.balance import Balance
from mailproxy.auth.cache import AuthCache, Cached, Key
from mailproxy.auth.chain import Chain, Link
from mailproxy.auth.database import Found, LoopPassdb, Submit, Values
from mailproxy.auth.fields import Account, is_forwardable, read_row, refused_network
from mailproxy.auth.journal import Journal
from mailproxy.auth.mechanisms.claim import Claim
from mailproxy.auth.password import PasswordCheck
from mailproxy.auth.request import Phase, Request
from mailproxy.auth.resolver import Resolve
from mailproxy.auth.schemes import Verdict, spend_as_long
from mailproxy.auth.usernames import UsernameRefused, UsernameRules, name_values
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.config.settings import AuthSettings

# How old a cached row may be when a password does not fit it; then the database is asked whether the
# password was changed. Bounds the queries that somebody who guesses can cause.
RECHECK_S = 10.0


class Engine:
    """Everything that one auth section knows; serves one request at a time, from one thread."""

    def __init__(
        self,
        settings: AuthSettings,
        chain: Chain,
        cache: AuthCache | None,
        submit: Submit,
        resolve: Resolve,
        log: Callable[[Level, str], None],
        used: Used,
    ) -> None:
        self._chain = chain
        self._cache = cache
        self._submit = submit
        self._in_loop = {
            link.number: link.passdb for link in chain.links if isinstance(link.passdb, LoopPassdb)
        }
        self._journal = Journal(settings, log)
        balance = Balance(settings.proxy_balance)
        self._answers = Answers(self._journal, resolve, balance, lambda: self.now, used)
        self._check = PasswordCheck(submit, self._journal)
        rules = UsernameRules(settings)
        self._identify = rules.identify
        self._identify_certified = rules.identify_certified
        self._wants_certificate = settings.ssl_require_client_cert
        self._name_from_certificate = settings.ssl_username_from_cert
        self.now = 0.0
        """Monotonic seconds; set by the process once a batch."""

    # -- the exchange ---------------------------------------------------------------------------------

    def begin(self, request: Request, parameters: dict[bytes, bytes], response: bytes | None) -> None:
        """Take the parameters of an AUTH line and its base64 response; the answer may come at once."""
        get = parameters.get
        request.service = parameters[b"service"].decode("utf-8", "surrogateescape")
        request.lip = get(b"lip", b"").decode("utf-8", "surrogateescape")
        request.rip = get(b"rip", b"").decode("utf-8", "surrogateescape")
        request.secured = b"secured" in parameters
        is_certified = b"valid-client-cert" in parameters
        if self._wants_certificate and not is_certified:
            return self._answers.reject(request, b"Client didn't present valid SSL certificate")
        if self._name_from_certificate and is_certified:
            request.certified_name = parameters.get(b"cert_username") or None
        if response is None:
            return self._feed(request, None)
        try:
            raw = binascii.a2b_base64(response, strict_mode=True)
        except ValueError:
            return self._answers.reject(request, b"Invalid base64 data in initial response")
        self._feed(request, raw)

    def proceed(self, request: Request, response: bytes) -> None:
        """Take a CONT line's base64 response."""
        if not request.awaits_client:
            return self._answers.reject(request, b"Unexpected continuation")
        request.awaits_client = False
        try:
            raw = binascii.a2b_base64(response, strict_mode=True)
        except ValueError:
            return self._answers.reject(request, b"Invalid base64 data in continued response")
        if request.final_line:
            return self._answers.deliver(request, request.final_line)
        self._feed(request, raw)

    def expire(self, request: Request) -> None:
        """Give up on a request whose passdbs take too long."""
        self._journal.error(request, "auth", "Request timed out waiting for a passdb")
        self._answers.fail(request, temporary=True)

    def _feed(self, request: Request, response: bytes | None) -> None:
        step = request.exchange.respond(response)
        if type(step) is bytes:
            request.awaits_client = True
            request.outlet.challenge(request, step)
        elif isinstance(step, Claim):
            self._claim(request, step)
        else:
            self._journal.note(request, request.offer.label, "invalid input")
            self._answers.fail(request)

    # -- the name -------------------------------------------------------------------------------------

    def _claim(self, request: Request, claim: Claim) -> None:
        request.password = claim.password
        request.proof = claim.proof
        request.token = claim.token
        try:
            if request.certified_name is None:
                user, login_user, request.original = self._identify(claim.user, claim.acts_as)
            else:
                user, login_user, request.original = self._identify_certified(request.certified_name)
        except UsernameRefused as why:
            self._journal.trace(request, "auth", f"Invalid username: {printable(claim.user)}")
            self._journal.note(request, request.offer.label, str(why))
            return self._answers.fail(request)
        self._set_values(request, user)
        request.user = login_user or user
        password = claim.password
        if password is not None and (not password or not is_forwardable(password)):
            what = "has a CR, LF or NUL in it, which no backend accepts" if password else "is empty"
            self._journal.note(request, request.offer.label, f"Password {what}")
            return self._answers.fail(request)
        request.links = self._chain.ordinary
        if login_user:
            if not self._chain.masters:
                self._journal.note(
                    request, request.offer.label, "Attempted master login with no master passdbs"
                )
                return self._answers.fail(request)
            request.login_user = login_user
            request.phase = Phase.MASTER
            request.links = self._chain.masters
        self._consult(request)

    def _set_values(self, request: Request, user: str) -> None:
        password = request.password
        request.values = {
            **name_values(user),
            "s": request.service,
            "l": request.lip,
            "r": request.rip,
            "p": request.pid,
            "w": "" if password is None else password.decode("utf-8", "surrogateescape"),
            "m": request.offer.label.upper(),
            "c": "secured" if request.secured else "",
        }

    # -- the passdbs ----------------------------------------------------------------------------------

    def _consult(self, request: Request) -> None:
        """Ask the passdb whose turn it is, the cache first."""
        if request.position >= len(request.links):
            return self._answers.fail(request, temporary=request.broken)
        link = request.links[request.position]
        cache = self._cache
        if cache is None or link.letters is None:
            return self._look_up(request, link, None, None)
        key = link.cache_key(request.values)
        cached = cache.get(key, self.now)
        if cached is None or self.now > cached.fresh_until:
            self._journal.trace(request, "cache", "miss" if cached is None else "expired")
            return self._look_up(request, link, key, cached)
        account = cached.account
        if self._journal.is_verbose:
            self._tell_hit(request, link, account)
        if account is None:
            return self._unknown(request, link)
        self._judge(request, link, account, partial(self._judged_cached, request, link, key, cached))

    def _tell_hit(self, request: Request, link: Link, account: Account | None) -> None:
        self._journal.trace(request, "cache", "hit")
        if account is None:
            self._journal.note(request, "cache", "User unknown")
        elif account.stored is None and not account.nobody and not link.deny:
            self._journal.note(request, "cache", "NULL password access")

    def _look_up(self, request: Request, link: Link, key: Key | None, cached: Cached | None) -> None:
        done = partial(self._found, request, link, key, cached)
        if not link.passdb.blocking:
            return done(link.find(request.values))
        in_loop = self._in_loop.get(link.number)
        if in_loop is not None:
            accepted = in_loop.begin(request.values, lambda: not request.is_over, done)
        else:
            accepted = self._submit(partial(_find_unless_over, request, link, request.values), done)
        if not accepted:
            self._answers.overloaded(request, self.now)

    def _found(
        self, request: Request, link: Link, key: Key | None, cached: Cached | None, found: Found
    ) -> None:
        if request.is_over:
            return
        if isinstance(found, LookupFailure):
            self._journal.error(request, link.passdb.driver, str(found))
            return self._look_up_failed(request, link, cached)
        if found is None:
            self._journal.note(request, link.passdb.driver, "unknown user")
            if self._cache is not None and key is not None:
                self._cache.put(key, None, False, self.now)
            return self._unknown(request, link)
        account = read_row(found, link.passdb.default_scheme)
        if link.deny and self._cache is not None and key is not None:
            self._cache.put(key, account, False, self.now)
        elif account.fault and not link.deny:
            self._journal.error(request, link.passdb.driver, account.fault)
            request.nodelay |= account.nodelay
            return self._broken(request)
        self._judge(request, link, account, partial(self._judged_fresh, request, link, key, account))

    def _look_up_failed(self, request: Request, link: Link, cached: Cached | None) -> None:
        if link.deny:
            return self._answers.fail(request, temporary=True)
        if cached is None or cached.account is None:
            return self._broken(request)
        self._journal.note(request, "passdb", "Fallbacking to expired data from cache")
        self._judge(request, link, cached.account, partial(self._judged_stale, request, link, cached.account))

    # -- the password ---------------------------------------------------------------------------------

    def _judge(
        self, request: Request, link: Link, account: Account, judged: Callable[[Verdict], None]
    ) -> None:
        """Compare the password, unless the row is about being refused."""
        request.nodelay |= account.nodelay
        if link.deny:
            self._journal.note(request, "passdb", "User found from deny passdb")
            return self._answers.fail(request)
        if not self._check.judge(request, link, account, judged):
            self._answers.overloaded(request, self.now)

    def _judged_cached(
        self, request: Request, link: Link, key: Key, cached: Cached, verdict: Verdict
    ) -> None:
        if request.is_over or cached.account is None:
            return
        if verdict is Verdict.MATCH:
            if request.phase is not Phase.TARGET:
                cached.succeeded = True
            return self._accept(request, link, cached.account)
        if cached.succeeded or self.now - cached.created_at > RECHECK_S:
            # The password may have been changed since.
            cached.succeeded = False
            return self._look_up(request, link, key, cached)
        self._mismatch(request, link, cached.account, verdict)

    def _judged_fresh(
        self, request: Request, link: Link, key: Key | None, account: Account, verdict: Verdict
    ) -> None:
        if request.is_over:
            return
        if self._cache is not None and key is not None and verdict is not Verdict.UNUSABLE:
            self._cache.put(key, account, verdict is Verdict.MATCH, self.now)
        if verdict is Verdict.MATCH:
            return self._accept(request, link, account)
        self._mismatch(request, link, account, verdict)

    def _judged_stale(self, request: Request, link: Link, account: Account, verdict: Verdict) -> None:
        if request.is_over:
            return
        if verdict is Verdict.MATCH:
            return self._accept(request, link, account)
        # Whether the password is wrong or new cannot be known while the database is down.
        self._journal.note(request, link.passdb.driver, "Password does not match the expired data")
        self._broken(request)

    # -- the outcome of one passdb --------------------------------------------------------------------

    def _mismatch(self, request: Request, link: Link, account: Account, verdict: Verdict) -> None:
        self._check.explain(request, link, account.stored, verdict)
        if verdict is Verdict.UNUSABLE:
            return self._broken(request)
        self._advance(request)

    def _unknown(self, request: Request, link: Link) -> None:
        if request.password is not None and not link.deny:
            spend_as_long(request.password, link.passdb.default_scheme)
        self._advance(request)

    def _broken(self, request: Request) -> None:
        request.broken = True
        self._advance(request)

    def _advance(self, request: Request) -> None:
        request.position += 1
        self._consult(request)

    def _accept(self, request: Request, link: Link, account: Account) -> None:
        if account.allow_nets:
            trace = partial(self._journal.trace, request, "auth")
            refused = refused_network(account.allow_nets, request.rip, trace)
            if refused:
                self._journal.note(request, "passdb", refused)
                return self._advance(request)
        if request.phase is Phase.MASTER:
            return self._accept_master(request, link, account)
        if account.user and account.user != request.user:
            if self._journal.is_debugging:
                names = f"{printable(request.user or '')} -> {printable(account.user)}"
                self._journal.trace(request, "auth", f"username changed {names}")
            request.user = account.user
            if link.pass_on:
                self._set_values(request, account.user)
        if link.pass_on:
            return self._advance(request)
        self._answers.succeed(request, account)

    def _accept_master(self, request: Request, link: Link, account: Account) -> None:
        self._journal.note(request, "auth", f"Master user logging in as {printable(request.login_user)}")
        if not link.pass_on:
            return self._answers.succeed(request, account)
        request.phase = Phase.TARGET
        request.links = self._chain.ordinary
        request.position = 0
        self._set_values(request, request.login_user)
        self._consult(request)


def _find_unless_over(request: Request, link: Link, values: Values) -> Found:
    return None if request.is_over else link.find(values)
