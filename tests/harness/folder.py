"""Temporary folders that processes of other users can reach."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """Make a folder with a short path (Unix sockets need that) and mode 0755; removes it at the end."""
    path = Path(tempfile.mkdtemp(prefix=f"mp-{prefix}-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
