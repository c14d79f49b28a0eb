"""What tests of the configuration share: texts, loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.config_text import ConfigText, Faults, Read


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Load a text."""
    return ConfigText(tmp_path, monkeypatch).read


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Say what is wrong with a text."""
    return ConfigText(tmp_path, monkeypatch).faults
