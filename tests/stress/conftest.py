"""Each scenario in both process modes, short and long; what was measured is printed at the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.process.conftest import MODES
from tests.stress.figures import Figures, markdown, plain
from tests.stress.scale import SCALES, Scale


@pytest.fixture(params=SCALES)
def scale(request: pytest.FixtureRequest) -> Scale:
    """How much of everything."""
    found = request.param
    assert isinstance(found, Scale)
    return found


@pytest.fixture(params=list(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    """Workers that share all clients, or a process of its own for each."""
    return str(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and write it where STRESS_TABLE says."""
    if not Figures.every:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line(plain(Figures.every))
    if path := os.environ.get("STRESS_TABLE"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(markdown(Figures.every))
