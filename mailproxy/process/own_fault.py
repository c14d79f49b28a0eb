"""The radius of an error that nobody foresaw: the connection where it happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple


class _Failing(Protocol):
    def fail(self, error: Exception) -> None:
        """End what is at fault, and say so in the log."""


_Arguments = TypeVarTuple("_Arguments")
_Self = TypeVar("_Self", bound=_Failing)


def own_fault(
    method: Callable[[_Self, *_Arguments], None],
) -> Callable[[_Self, *_Arguments], None]:
    """Let an error in `method` end its object, and not the worker with all its relays.

    Arguments are positional: taking keywords too would make a dictionary for each of a login's five calls.
    """

    def guarded(self: _Self, /, *args: *_Arguments) -> None:
        try:
            method(self, *args)
        except Exception as error:
            self.fail(error)

    return guarded
