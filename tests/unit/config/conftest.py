from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.config.load import load
from mailproxy.config.settings import Settings

AUTH = "auth default {\n  user = nobody\n  passdb sql {\n    args = /x\n  }\n  userdb static {\n  }\n}\n"


@pytest.fixture(autouse=True)
def _plain_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root would look for the users of the configuration."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Settings]:
    """Load a configuration from text; a working auth section is added unless told otherwise."""

    def read_text(text: str, auth: str = AUTH) -> Settings:
        path = tmp_path / "dovecot.conf"
        path.write_text(text + auth)
        return load(str(path))

    return read_text


@pytest.fixture
def faults(read: Callable[..., Settings], tmp_path: Path) -> Callable[..., list[str]]:
    """Return what is wrong with a configuration, with `file` in the place of its path."""

    def read_faults(text: str, auth: str = AUTH) -> list[str]:
        try:
            read(text, auth)
        except ConfigError as error:
            path = str(tmp_path / "dovecot.conf")
            return [str(problem).replace(path, "file") for problem in error.problems]
        return []

    return read_faults
