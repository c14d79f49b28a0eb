"""The radius of an error that nobody foresaw: the connection where it happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class _Failing(Protocol):
    def fail(self, error: Exception) -> None:
        """End what is at fault, and say so in the log."""


_Arguments = ParamSpec("_Arguments")
_Self = TypeVar("_Self", bound=_Failing)


def own_fault(
    method: Callable[Concatenate[_Self, _Arguments], None],
) -> Callable[Concatenate[_Self, _Arguments], None]:
    """Let an error in `method` end its object, and not the worker with all its relays."""

    def guarded(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.fail(error)

    return guarded
