"""Programs of Debian packages that are unpacked but not installed, as other packages exclude them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.harness.proxy import CHECKOUT

_ARCHIVES = CHECKOUT / "build" / "archives"


def why_not(name: str) -> str:
    """Say why a server of `build/archives/<name>` cannot be run here, empty if it can."""
    if os.geteuid() != 0:
        return f"{name} needs root's rights"
    if not (_ARCHIVES / name / "complete").exists():
        return f"the packages of {name} have not been fetched: make packages"
    return ""


def unpack(name: str, folder: Path) -> None:
    """Unpack all packages of a server; what belongs into `/usr` is in `folder/usr`."""
    for archive in sorted((_ARCHIVES / name).glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which unpacked programs find their own libraries."""
    found = sorted({str(path.parent) for path in folder.rglob("*.so.*")})
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(found)}
