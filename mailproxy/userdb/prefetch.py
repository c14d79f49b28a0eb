"""The userdb `prefetch`: what the passdb has already said, in fields that begin with `userdb_`."""

from __future__ import annotations

from collections.abc import Mapping

from mailproxy.auth.database import Values

PREFIX = "userdb_"


class PrefetchUserdb:
    """Knows nobody by name; a login takes its fields with `prefetched`."""

    driver = "prefetch"
    blocking = False

    def lookup(self, values: Values) -> None:
        """Know nobody, so that the next userdb is asked when no passdb has been."""

    def close(self) -> None:
        """Nothing is open."""


def prefetched(fields: Mapping[str, str]) -> dict[str, str] | None:
    """Return the userdb fields among a passdb's, without their prefix; None if there is none."""
    found = {key.removeprefix(PREFIX): value for key, value in fields.items() if key.startswith(PREFIX)}
    return found or None
