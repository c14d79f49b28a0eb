"""Moves a request on: mechanism, user name, passdbs in order, password, fields, answer.

Pure but for what is passed in: threads through `submit`, time through `now`, log lines through `log`.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from functools import partial

from mailproxy.auth.cache import AuthCache, Cached, Key
from mailproxy.auth.chain import Chain, Found, Link
from mailproxy.auth.database import Values
from mailproxy.auth.fields import Account, is_forwardable, read_row, refused_network
from mailproxy.auth.mechanisms.claim import Claim
from mailproxy.auth.request import Phase, Request
from mailproxy.auth.schemes import StoredPassword, Verdict, spend_as_long
from mailproxy.auth.usernames import UsernameRefused, UsernameRules, name_values
from mailproxy.base.errors import LookupFailure
from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.config.settings import AuthSettings
from mailproxy.ipc.auth_server_lines import render_fail, render_ok

Submit = Callable[[Callable[[], object], Callable[..., None]], bool]

# How old a cached row may be when a password does not fit it; then the database is asked whether the
# password was changed. Bounds the queries that somebody who guesses can cause.
RECHECK_S = 10.0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class Engine:
    """Everything that one auth section knows; serves one request at a time, from one thread."""

    def __init__(
        self,
        settings: AuthSettings,
        chain: Chain,
        cache: AuthCache | None,
        submit: Submit,
        log: Callable[[Level, str], None],
    ) -> None:
        self._chain = chain
        self._cache = cache
        self._submit = submit
        self._log = log
        self._identify = UsernameRules(settings).identify
        self._shows_passwords = settings.debug_passwords
        self._debug = settings.debug or settings.debug_passwords
        self._verbose = settings.verbose or self._debug
        self._wants_certificate = settings.ssl_require_client_cert
        self._name_from_certificate = settings.ssl_username_from_cert
        self._overload_quiet_until = 0.0
        self.now = 0.0
        """Monotonic seconds; set by the process once a batch."""

    # -- the exchange ---------------------------------------------------------------------------------

    def begin(self, request: Request, parameters: dict[bytes, bytes], response: bytes | None) -> None:
        """Take the parameters of an AUTH line and its base64 response; the answer may come at once."""
        request.service = _text(parameters[b"service"])
        request.lip = _text(parameters.get(b"lip", b""))
        request.rip = _text(parameters.get(b"rip", b""))
        request.secured = b"secured" in parameters
        if self._wants_certificate and b"valid-client-cert" not in parameters:
            return self._reject(request, b"Client didn't present valid SSL certificate")
        if self._name_from_certificate:
            request.certified_name = parameters.get(b"cert_username") or None
        if response is None:
            return self._feed(request, None)
        try:
            raw = binascii.a2b_base64(response, strict_mode=True)
        except ValueError:
            return self._reject(request, b"Invalid base64 data in initial response")
        self._feed(request, raw)

    def proceed(self, request: Request, response: bytes) -> None:
        """Take a CONT line's base64 response."""
        if not request.awaits_client:
            return self._reject(request, b"Unexpected continuation")
        request.awaits_client = False
        try:
            raw = binascii.a2b_base64(response, strict_mode=True)
        except ValueError:
            return self._reject(request, b"Invalid base64 data in continued response")
        if request.final_line:
            return self._deliver(request, request.final_line)
        self._feed(request, raw)

    def expire(self, request: Request) -> None:
        """Give up on a request whose passdbs take too long."""
        self._log(Level.ERROR, request.label("auth") + "Request timed out waiting for a passdb")
        self._fail(request, temporary=True)

    def _feed(self, request: Request, response: bytes | None) -> None:
        step = request.exchange.respond(response)
        if type(step) is bytes:
            request.awaits_client = True
            request.outlet.challenge(request, step)
        elif isinstance(step, Claim):
            self._claim(request, step)
        else:
            self._note(request, request.offer.label, "invalid input")
            self._fail(request)

    def _reject(self, request: Request, reason: bytes) -> None:
        self._note(request, request.offer.label, reason.decode())
        request.is_over = True
        request.outlet.fail(request, render_fail(request.request_id, None, reason=reason), True)

    # -- the name -------------------------------------------------------------------------------------

    def _claim(self, request: Request, claim: Claim) -> None:
        request.password = claim.password
        request.proof = claim.proof
        try:
            if request.certified_name is None:
                user, login_user, request.original = self._identify(claim.user, claim.acts_as)
            else:
                request.original = request.certified_name
                user, login_user = _text(request.certified_name), ""
        except UsernameRefused as why:
            if self._debug:
                self._note(request, "auth", f"Invalid username: {printable(claim.user)}")
            self._note(request, request.offer.label, str(why))
            return self._fail(request)
        self._set_values(request, user)
        request.user = login_user or user
        password = claim.password
        if password is not None and (not password or not is_forwardable(password)):
            what = "has a CR, LF or NUL in it, which no backend accepts" if password else "is empty"
            self._note(request, request.offer.label, f"Password {what}")
            return self._fail(request)
        request.links = self._chain.ordinary
        if login_user:
            if not self._chain.masters:
                self._note(request, request.offer.label, "Attempted master login with no master passdbs")
                return self._fail(request)
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
            "w": "" if password is None else _text(password),
            "m": request.offer.label.upper(),
            "c": "secured" if request.secured else "",
        }

    # -- the passdbs ----------------------------------------------------------------------------------

    def _consult(self, request: Request) -> None:
        """Ask the passdb whose turn it is, the cache first."""
        if request.position >= len(request.links):
            return self._fail(request, temporary=request.broken)
        link = request.links[request.position]
        cache = self._cache
        if cache is None or link.letters is None:
            return self._look_up(request, link, None, None)
        key = link.cache_key(request.values)
        cached = cache.get(key, self.now)
        if cached is None or self.now > cached.fresh_until:
            if self._debug:
                self._note(request, "cache", "miss" if cached is None else "expired")
            return self._look_up(request, link, key, cached)
        if self._debug:
            self._note(request, "cache", "hit")
        account = cached.account
        if account is None:
            self._note(request, "cache", "User unknown")
            return self._unknown(request, link)
        if account.stored is None and not account.nobody and not link.deny:
            self._note(request, "cache", "NULL password access")
        self._judge(request, link, account, partial(self._judged_cached, request, link, key, cached))

    def _look_up(self, request: Request, link: Link, key: Key | None, cached: Cached | None) -> None:
        done = partial(self._found, request, link, key, cached)
        if not link.passdb.blocking:
            return done(link.find(request.values))
        if not self._submit(partial(_find_unless_over, request, link, request.values), done):
            self._overloaded(request)

    def _found(
        self, request: Request, link: Link, key: Key | None, cached: Cached | None, found: Found
    ) -> None:
        if request.is_over:
            return
        if isinstance(found, LookupFailure):
            self._log(Level.ERROR, request.label(link.passdb.driver) + str(found))
            return self._look_up_failed(request, link, cached)
        if found is None:
            self._note(request, link.passdb.driver, "unknown user")
            if self._cache is not None and key is not None:
                self._cache.put(key, None, False, self.now)
            return self._unknown(request, link)
        account = read_row(found, link.passdb.default_scheme)
        if link.deny and self._cache is not None and key is not None:
            self._cache.put(key, account, False, self.now)
        elif account.fault and not link.deny:
            self._log(Level.ERROR, request.label(link.passdb.driver) + account.fault)
            request.nodelay |= account.nodelay
            return self._broken(request)
        self._judge(request, link, account, partial(self._judged_fresh, request, link, key, account))

    def _look_up_failed(self, request: Request, link: Link, cached: Cached | None) -> None:
        if link.deny:
            return self._fail(request, temporary=True)
        if cached is None or cached.account is None:
            return self._broken(request)
        self._note(request, "passdb", "Fallbacking to expired data from cache")
        self._judge(request, link, cached.account, partial(self._judged_stale, request, link, cached.account))

    # -- the password ---------------------------------------------------------------------------------

    def _judge(
        self, request: Request, link: Link, account: Account, judged: Callable[[Verdict | None], None]
    ) -> None:
        """Compare the password, in a thread if the scheme is slow, unless the row is not about it."""
        request.nodelay |= account.nodelay
        if link.deny:
            self._note(request, "passdb", "User found from deny passdb")
            return self._fail(request)
        if request.phase is Phase.TARGET:
            return judged(Verdict.MATCH)
        stored, password = account.stored, request.password
        if stored is None:
            return judged(self._without_stored(request, link, account))
        if password is None:
            return judged(self._proved(request, stored))
        if not stored.is_slow:
            return judged(stored.verify(password, request.original))
        if not self._submit(partial(stored.verify, password, request.original), judged):
            self._overloaded(request)

    def _without_stored(self, request: Request, link: Link, account: Account) -> Verdict:
        if account.nobody:
            self._note(request, link.passdb.driver, "Stored password is empty, which no password matches")
            return Verdict.MISMATCH
        if request.password is None:
            self._note(request, "password", f"Requested {request.scheme} scheme, but the password is NULL")
            return Verdict.MISMATCH
        return Verdict.MATCH

    def _proved(self, request: Request, stored: StoredPassword) -> Verdict:
        proof = request.proof
        verdict = proof.verify(stored) if proof is not None else None
        if verdict is None:
            wanted = f"Requested {request.scheme} scheme, but we have only {stored.scheme}"
            self._note(request, "password", wanted)
            return Verdict.MISMATCH
        return verdict

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
        self._note(request, link.passdb.driver, "Password does not match the expired data")
        self._broken(request)

    # -- the outcome of one passdb --------------------------------------------------------------------

    def _mismatch(self, request: Request, link: Link, account: Account, verdict: Verdict) -> None:
        driver, stored = link.passdb.driver, account.stored
        if verdict is Verdict.UNUSABLE:
            scheme = stored.scheme if stored is not None else link.passdb.default_scheme
            text = f"Stored password is not valid data of scheme {scheme}"
            self._log(Level.ERROR, request.label(driver) + text)
            return self._broken(request)
        if verdict is Verdict.TOO_LONG:
            self._note(request, driver, "Password is longer than its scheme can tell apart")
        self._note(request, driver, "Password mismatch")
        if self._shows_passwords and stored is not None and request.password is not None:
            typed = printable(request.password)
            self._note(request, driver, f"{stored.scheme}({typed}) != '{printable(stored.data)}'")
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
            refused = refused_network(account.allow_nets, request.rip)
            if refused:
                self._note(request, "passdb", refused)
                return self._advance(request)
        if request.phase is Phase.MASTER:
            return self._accept_master(request, link, account)
        if account.user and account.user != request.user:
            if self._debug:
                names = f"{printable(request.user or '')} -> {printable(account.user)}"
                self._note(request, "auth", f"username changed {names}")
            request.user = account.user
            if link.pass_on:
                self._set_values(request, account.user)
        if link.pass_on:
            return self._advance(request)
        self._succeed(request, account)

    def _accept_master(self, request: Request, link: Link, account: Account) -> None:
        self._note(request, "auth", f"Master user logging in as {printable(request.login_user)}")
        if not link.pass_on:
            return self._succeed(request, account)
        request.phase = Phase.TARGET
        request.links = self._chain.ordinary
        request.position = 0
        self._set_values(request, request.login_user)
        self._consult(request)

    # -- the answer -----------------------------------------------------------------------------------

    def _succeed(self, request: Request, account: Account) -> None:
        user = (request.user or "").encode("utf-8", "surrogateescape")
        password = request.password if account.forwards_typed else None
        line = render_ok(request.request_id, user, account.words, password)
        final = request.proof.final_challenge() if request.proof is not None else b""
        if not final:
            return self._deliver(request, line)
        # Neither IMAP nor POP3 can send data along with a success, so it goes ahead as a challenge.
        request.final_line = line
        request.awaits_client = True
        request.outlet.challenge(request, final)

    def _deliver(self, request: Request, line: bytes) -> None:
        request.is_over = True
        request.password = None
        request.outlet.succeed(request, line)

    def _fail(self, request: Request, temporary: bool = False) -> None:
        request.is_over = True
        # It may wait for the beat with thousands of others: without the secret and the weight.
        request.password = None
        request.values = {}
        user = None if request.user is None else request.user.encode("utf-8", "surrogateescape")
        request.outlet.fail(request, render_fail(request.request_id, user, temporary), request.nodelay)

    def _overloaded(self, request: Request) -> None:
        # One line a second: a flood of requests must not become a flood of lines.
        if self.now >= self._overload_quiet_until:
            self._overload_quiet_until = self.now + 1.0
            self._log(Level.ERROR, request.label("auth") + "All auth workers are busy")
        self._fail(request, temporary=True)

    def _note(self, request: Request, subsystem: str, text: str) -> None:
        if self._verbose:
            self._log(Level.INFO, request.label(subsystem) + text)


def _find_unless_over(request: Request, link: Link, values: Values) -> Found:
    return None if request.is_over else link.find(values)
