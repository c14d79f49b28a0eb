"""An authority, and settings that a test changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mailproxy.config.settings import TlsSettings
from tests.harness.tls import Authority
from tests.unit.net.tls_peers import NAME, PLAIN, Change


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def change(authority: Authority) -> Change:
    """Return settings with a good pair, and with these changes."""
    pair = authority.issue(NAME)

    def changed(**changes: object) -> TlsSettings:
        good = dataclasses.replace(PLAIN, ssl_cert_file=str(pair.cert), ssl_key_file=str(pair.key))
        return dataclasses.replace(good, **changes)  # type: ignore[arg-type]

    return changed
