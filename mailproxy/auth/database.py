"""What auth asks of a database: the face of every passdb and userdb driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

Values = Mapping[str, str]
"""%-variables by letter (`u` user, `n`, `d`, `s` service, `l`, `r` addresses, `p` pid, `w` password, `m`
mechanism, `c` secured). Strings are UTF-8 decoded with `surrogateescape`, so that any bytes survive."""


class Row(NamedTuple):
    """What a passdb holds for one user; the caller verifies the password."""

    password: bytes | None
    """As stored, maybe with a `{SCHEME}` prefix. None is SQL's NULL: any password passes."""
    fields: dict[str, str]
    """Every other field, in order, without those that are NULL; secret (`pass`), so never logged."""


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


class Userdb(Protocol):
    """A user database; a proxied login never asks it."""

    driver: str
    blocking: bool

    def lookup(self, values: Values) -> dict[str, str] | None:
        """Find the user's fields (`uid`, `gid`, `home` …), None if unknown. Raises LookupFailure."""

    def close(self) -> None:
        """Let go of connections."""
