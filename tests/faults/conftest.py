"""Each module has one proxy for all its rows; after every row the standard oracles are asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.arena import QUERY, Arena
from tests.harness.oracles import Oracles
from tests.harness.scripted_backend import imap_echo, pop3_echo


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let both modes of processes meet the rows of a module that asks for it."""
    modes = getattr(metafunc.module, "MODES", ())
    if modes and "arena" in metafunc.fixturenames:
        metafunc.parametrize("arena", modes, indirect=True, scope="module")


@pytest.fixture(scope="module")
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """The module's proxy, with the module's SETTINGS and AUTH, and its QUERY in place of the usual.

    A module with MODES goes through its rows in each of them.
    """
    module = request.module
    with Arena(
        getattr(module, "SETTINGS", ""),
        getattr(module, "QUERY", QUERY),
        auth=getattr(module, "AUTH", ""),
        per_connection=getattr(request, "param", "") == "per-connection",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def _module_oracles(arena: Arena) -> Iterator[Oracles]:
    watching = Oracles(arena)
    yield watching
    watching.close()


@pytest.fixture(autouse=True)
def oracles(arena: Arena, _module_oracles: Oracles) -> Iterator[Oracles]:
    """S1 to S7 around every row; both scripted backends begin well-behaved."""
    arena.imap.play(imap_echo)
    arena.pop3.play(pop3_echo)
    _module_oracles.begin()
    yield _module_oracles
    _module_oracles.check()
