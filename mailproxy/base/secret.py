"""A value that cannot be printed by accident."""

from __future__ import annotations

import hmac
from typing import Final


class Secret:
    """Holds secret bytes; every conversion to text shows asterisks. Only `reveal` opens it."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value: Final = value

    def reveal(self) -> bytes:
        """Return the bytes. UNSAFE: each caller answers for where they go."""
        return self._value

    def matches(self, other: bytes) -> bool:
        """Compare in time that does not depend on the contents."""
        return hmac.compare_digest(self._value, other)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a Secret does not leave its process")
