"""Configurations from text, for the tests of this room."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.config.load import load
from mailproxy.config.settings import Settings

Read = Callable[..., Settings]
Faults = Callable[..., list[str]]
LINE = "Error in configuration file file line {}: {}"
PAIR = "ssl_cert_file = /dev/null\nssl_key_file = /dev/null\n"
AUTH = "auth default {\n  user = nobody\n  passdb sql {\n    args = /x\n  }\n  userdb static {\n  }\n}\n"


class ConfigText:
    """A folder with one configuration, loaded as a plain user: root would look for the users in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        self._path = folder / "dovecot.conf"

    def read(self, text: str, auth: str = AUTH) -> Settings:
        """Load the text; a working auth section is added unless told otherwise."""
        self._path.write_text(text + auth)
        return load(str(self._path))

    def faults(self, text: str, auth: str = AUTH) -> list[str]:
        """Return what is wrong with the text, with `file` in the place of its path."""
        try:
            self.read(text, auth)
        except ConfigError as error:
            return [str(problem).replace(str(self._path), "file") for problem in error.problems]
        return []
