"""Trees of processes, looked at from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.harness.arena import Arena
from tests.harness.wait import wait_until
from tests.stress.figures import Figures
from tests.stress.witness import Witness

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


@pytest.fixture
def new_whole_arena(new_arena: NewArena) -> Iterator[NewArena]:
    """The same, and at the end of the test the tree is as it was at the beginning."""
    with contextlib.ExitStack() as stack:

        def start(*settings: str) -> Arena:
            arena = new_arena(*settings)
            stack.enter_context(leaves_no_trace(arena))
            return arena

        yield start


@pytest.fixture
def whole(arena: Arena) -> Iterator[None]:
    """At the end of the test the tree of `arena` is as it was at the beginning."""
    with leaves_no_trace(arena):
        yield


@contextlib.contextmanager
def leaves_no_trace(arena: Arena) -> Iterator[None]:
    """Afterwards roles, descriptors and memory are as before, with no zombie, orphan or traceback."""
    for protocol in ("imap", "pop3"):
        arena.login(protocol, b"guest", arena.GUEST).close()
    witness = Witness(arena)
    yield

    def what_is_left() -> str:
        figures = Figures("afterwards", "")
        witness.note(figures)
        try:
            figures.verify()
        except AssertionError as error:
            return str(error)
        return ""

    # Somebody may be about to leave.
    with contextlib.suppress(AssertionError):
        wait_until("nothing is left", lambda: not what_is_left(), 5)
    assert not what_is_left(), what_is_left()


@pytest.fixture(params=list(MODES))
def arena(request: pytest.FixtureRequest, new_arena: NewArena) -> Arena:
    """An arena in each process mode, with two workers a protocol."""
    return new_arena(MODES[request.param], "login_processes_count = 2")
