"""Host names to addresses: a cache in front of the system's resolver, which is asked in threads.

Behind `auth_chroot` the system's resolver needs its files there: etc/resolv.conf, etc/hosts, and
etc/nsswitch.conf with the libraries it names.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, zip_longest

from mailproxy.base.level import Level
from mailproxy.base.text import printable

TTL_S = 60.0
# So long after that the answer is still given, while a thread asks anew: longer than any query takes.
GRACE_S = 60.0
FAILURE_TTL_S = 5.0
_NAMES = 1024
_ADDRESSES = 8

Addresses = tuple[str, ...]
Done = Callable[[Addresses, str], None]
"""Of the addresses in the order to try, and why there are none."""
Resolve = Callable[[Iterable[str], Callable[[dict[str, Addresses], dict[str, str]], None]], None]
"""The type of `Resolver.resolve_all`."""
Submit = Callable[[Callable[[], object], Callable[..., None]], bool]


class _Known:
    """What is known of one name; `waiting` are those whom the running query will answer."""

    __slots__ = ("addresses", "failure", "fresh_until", "is_asking", "waiting")

    def __init__(self) -> None:
        self.addresses: Addresses = ()
        self.failure = ""
        """Why the last query failed; empty if it did not."""
        self.fresh_until = 0.0
        self.is_asking = False
        self.waiting: list[Done] = []


class Resolver:
    """Resolves names without blocking the caller; one query for a name at a time.

    An answer is good for 60 s and a failure for 5 s. A name that is asked for all the time is asked anew
    while the old answer is given, so that nobody waits; when DNS fails the old answer stays.
    """

    def __init__(
        self,
        submit: Submit,
        clock: Callable[[], float],
        log: Callable[[Level, str], None],
        query: Callable[[str], Addresses] | None = None,
    ) -> None:
        """Take monotonic seconds from `clock`; `query` runs in threads of `submit` and raises OSError."""
        self._submit = submit
        self._clock = clock
        self._log = log
        self._query = query or query_system
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def resolve_all(
        self, names: Iterable[str], done: Callable[[dict[str, Addresses], dict[str, str]], None]
    ) -> None:
        """Call `done` with the addresses of each name, and with the reason for each that has none."""
        wanted = set(names)
        resolved: dict[str, Addresses] = {}
        failures: dict[str, str] = {}

        def learn(name: str, addresses: Addresses, failure: str) -> None:
            resolved[name] = addresses
            if not addresses:
                failures[name] = failure
            if len(resolved) == len(wanted):
                done(resolved, failures)

        if not wanted:
            done(resolved, failures)
        for name in wanted:
            self.resolve(name, partial(learn, name))

    def resolve(self, name: str, done: Done) -> None:
        """Call `done` with the addresses of `name`, at once if they are known."""
        name = name.lower()
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = _Known()
            self._forget_oldest()
        self._known.move_to_end(name)
        now = self._clock()
        if now < known.fresh_until:
            return done(known.addresses, known.failure)
        answers_now = bool(known.addresses and (known.failure or now < known.fresh_until + GRACE_S))
        if not answers_now:
            known.waiting.append(done)
        if not known.is_asking:
            known.is_asking = self._submit(
                partial(_ask, self._query, name), partial(self._learn, name, known)
            )
            if not known.is_asking:
                self._answer(known, "too many names are being looked up")
        if answers_now:
            done(known.addresses, "")

    def _learn(self, name: str, known: _Known, answer: Addresses | str) -> None:
        known.is_asking = False
        if isinstance(answer, str):
            if known.addresses and not known.failure:
                text = f"DNS lookup of {printable(name)} failed, its old addresses stay in use: {answer}"
                self._log(Level.WARNING, text)
            known.failure = answer
            known.fresh_until = self._clock() + FAILURE_TTL_S
        else:
            known.addresses, known.failure = answer, ""
            known.fresh_until = self._clock() + TTL_S
        self._answer(known, known.failure)

    def _answer(self, known: _Known, failure: str) -> None:
        waiting, known.waiting = known.waiting, []
        for done in waiting:
            done(known.addresses, failure)

    def _forget_oldest(self) -> None:
        while len(self._known) > _NAMES:
            # Whoever waits for it is answered all the same: the query holds on to it.
            self._known.popitem(last=False)


def _ask(query: Callable[[str], Addresses], name: str) -> Addresses | str:
    """Return the addresses or the reason why there are none; runs in a thread, so it never raises."""
    try:
        return interleave(query(name))[:_ADDRESSES] or "no address"
    except OSError as failure:
        return failure.strerror or type(failure).__name__
    except Exception as failure:
        return type(failure).__name__


def query_system(name: str) -> Addresses:
    """Ask the system's resolver, which may take as long as it likes. Raises OSError.

    Its order is that of RFC 6724, the better address first.
    """
    # As bytes: a text would be encoded by IDNA, which has rules of its own about underscores.
    found = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return tuple(str(address[0]) for *_, address in found)


def interleave(addresses: Addresses) -> Addresses:
    """Let the families take turns, the better one first: a broken one costs one try (RFC 8305)."""
    unique = tuple(dict.fromkeys(address for address in addresses if "%" not in address))
    if not unique:
        return ()
    is_six = ":" in unique[0]
    same = [address for address in unique if (":" in address) == is_six]
    other = [address for address in unique if (":" in address) != is_six]
    return tuple(address for address in chain.from_iterable(zip_longest(same, other)) if address)
