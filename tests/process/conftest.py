"""Trees of processes, looked at from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.harness.arena import Arena

MODES = {"shared": "login_process_per_connection = no", "own": "login_process_per_connection = yes"}
NewArena = Callable[..., Arena]


@pytest.fixture
def new_arena() -> Iterator[NewArena]:
    """Start an arena with settings in lines; it is closed and checked at the end."""
    with contextlib.ExitStack() as stack:

        def start(*settings: str) -> Arena:
            arena = Arena("\n".join(("auth_debug = no", *settings)))
            stack.callback(arena.close)  # also when it does not start
            return arena.start()

        yield start


@pytest.fixture(params=list(MODES))
def arena(request: pytest.FixtureRequest, new_arena: NewArena) -> Arena:
    """An arena in each process mode, with two workers a protocol."""
    return new_arena(MODES[request.param], "login_processes_count = 2")
