"""What auth asks of a database: the face of every passdb and userdb driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from mailproxy.base.errors import LookupFailure

Values = Mapping[str, str]
"""%-variables by letter (`u` user, `n`, `d`, `s` service, `l`, `r` addresses, `p` pid, `w` password, `m`
mechanism, `c` secured). Strings are UTF-8 decoded with `surrogateescape`, so that any bytes survive."""


class Row(NamedTuple):
    """What a passdb holds for one user; the caller verifies the password."""

    password: bytes | None
    """As stored, maybe with a `{SCHEME}` prefix. None is SQL's NULL: any password passes."""
    fields: dict[str, str]
    """Every other field, in order, without those that are NULL; secret (`pass`), so never logged."""


Found = Row | LookupFailure | None
"""What a lookup ends with; None: there is no such user."""

Submit = Callable[[Callable[[], object], Callable[..., None]], bool]
"""Runs the first in a thread and calls the second with its result; False when too much waits already."""


class Passdb(Protocol):
    """A password database. Configured and opened in auth alone, after the fork."""

    driver: str
    """Its name in the configuration and in log lines."""
    default_scheme: str
    """Scheme of a stored password without a prefix, upper case."""
    blocking: bool
    """Whether `lookup` must run in a thread; such a driver serves several threads at once."""
    cache_key: tuple[str, ...] | None
    """The variables that decide its answer, each once, always with the user; None: do not cache."""

    def lookup(self, values: Values) -> Row | None:
        """Find the user, None if unknown. Raises LookupFailure, whose text has no secret in it."""

    def close(self) -> None:
        """Let go of connections."""


class Waiting(Protocol):
    """Who has a deadline."""

    def on_deadline(self) -> None:
        """It has come."""


class Loop(Protocol):
    """The loop of the thread that serves clients, for a driver that waits for its database there."""

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Watch a descriptor."""

    def change(self, fd: int, events: int) -> None:
        """Watch it for other events."""

    def forget(self, fd: int) -> None:
        """Stop watching it, right before it is closed or after."""

    def set_deadline(self, who: Waiting, when: float) -> None:
        """Call `who.on_deadline` at monotonic time `when`, in place of one set before."""

    def drop_deadline(self, who: Waiting) -> None:
        """Make sure that `who` is not called."""


@runtime_checkable
class LoopPassdb(Protocol):
    """A blocking passdb that can also be asked in the loop, which saves the way to a thread and back."""

    def attach(self, loop: Loop, submit: Submit, limit: int, wake: Callable[[], None]) -> None:
        """Tell it the loop, before anything is asked.

        `submit` takes what has to block, such as to connect; there are at most `limit` connections to a
        host; `wake` is called before answers come by the loop.
        """

    def begin(self, values: Values, wanted: Callable[[], bool], done: Callable[[Found], None]) -> bool:
        """Call `done` with what is found, now or later; False when too much waits already.

        If it has to wait for its turn, and is not `wanted` any more by then, nothing is asked.
        """


class Userdb(Protocol):
    """A user database; a proxied login never asks it."""

    driver: str
    blocking: bool

    def lookup(self, values: Values) -> dict[str, str] | None:
        """Find the user's fields (`uid`, `gid`, `home` …), None if unknown. Raises LookupFailure."""

    def close(self) -> None:
        """Let go of connections."""
