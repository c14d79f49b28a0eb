"""Whether what a client sent proves that he is the user of a row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mailproxy.auth.chain import Link
from mailproxy.auth.database import Submit
from mailproxy.auth.fields import Account
from mailproxy.auth.journal import Journal
from mailproxy.auth.request import Phase, Request
from mailproxy.auth.schemes import StoredPassword, Verdict
from mailproxy.base.text import printable

_RELAYING_SERVICES = ("imap", "pop3")


class PasswordCheck:
    """Compares passwords and proofs; slow hashes go through `submit`."""

    def __init__(self, submit: Submit, journal: Journal) -> None:
        self._submit = submit
        self._journal = journal

    def judge(
        self, request: Request, link: Link, account: Account, judged: Callable[[Verdict], None]
    ) -> bool:
        """Call `judged`, now or when a thread is done; False when no thread can take the work."""
        if request.token is not None:
            judged(self._relayed(request, account))
            return True
        if request.phase is Phase.TARGET:
            judged(Verdict.MATCH)
            return True
        if request.phase is Phase.UNCHECKED:
            judged(self._unchecked(request, link, account))
            return True
        stored, password = account.stored, request.password
        if stored is None:
            judged(self._without_stored(request, link, account))
        elif password is None:
            judged(self._proved(request, stored))
        elif not stored.is_slow:
            judged(stored.verify(password, request.original))
        else:
            return self._submit(partial(stored.verify, password, request.original), judged)
        return True

    def _relayed(self, request: Request, account: Account) -> Verdict:
        """Let a token pass that a backend is sure to check; nobody has done so yet."""
        mechanism = request.offer.announced.name.decode()
        is_relayed = account.relays_token_of == mechanism and request.phase is Phase.ORDINARY
        # Another service would take OK for a proof, as it has no backend to ask.
        if is_relayed and request.service in _RELAYING_SERVICES:
            return Verdict.MATCH
        wanted = f"{mechanism} needs a row with proxy, proxy_mech={mechanism} and no pass"
        self._journal.note(request, "password", wanted)
        return Verdict.MISMATCH

    def _unchecked(self, request: Request, link: Link, account: Account) -> Verdict:
        """Let everybody in whom some password would let in."""
        return self._without_stored(request, link, account) if account.nobody else Verdict.MATCH

    def _without_stored(self, request: Request, link: Link, account: Account) -> Verdict:
        note = self._journal.note
        if account.nobody:
            note(request, link.passdb.driver, "Stored password is empty, which no password matches")
            return Verdict.MISMATCH
        if request.password is None:
            note(request, "password", f"Requested {request.scheme} scheme, but the password is NULL")
            return Verdict.MISMATCH
        return Verdict.MATCH

    def _proved(self, request: Request, stored: StoredPassword) -> Verdict:
        proof = request.proof
        verdict = proof.verify(stored) if proof is not None else None
        if verdict is None:
            wanted = f"Requested {request.scheme} scheme, but we have only {stored.scheme}"
            self._journal.note(request, "password", wanted)
            return Verdict.MISMATCH
        return verdict

    def explain(self, request: Request, link: Link, stored: StoredPassword | None, verdict: Verdict) -> None:
        """Log why there is no match."""
        driver, note = link.passdb.driver, self._journal.note
        if verdict is Verdict.UNUSABLE:
            scheme = stored.scheme if stored is not None else link.passdb.default_scheme
            text = f"Stored password is not valid data of scheme {scheme}"
            return self._journal.error(request, driver, text)
        if request.token is not None:
            return
        if verdict is Verdict.TOO_LONG:
            note(request, driver, "Password is longer than its scheme can tell apart")
        note(request, driver, "Password mismatch")
        if self._journal.shows_passwords and stored is not None and request.password is not None:
            typed = printable(request.password)
            note(request, driver, f"{stored.scheme}({typed}) != '{printable(stored.data)}'")
