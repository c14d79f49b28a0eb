"""The role of a process, for ps and top."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
from collections.abc import Callable


def _setter() -> Callable[[str], None]:
    """Return the library's C function, without running its package.

    The package imports logging, and with it threading. Both repair their locks in every forked child, which
    costs 0.4 ms and 300 KiB of private memory a child: a third of what a process per connection may cost.
    """
    package = importlib.util.find_spec("setproctitle")
    for directory in (package and package.submodule_search_locations) or ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = os.path.join(directory, "_setproctitle" + suffix)
            if os.path.exists(path):
                loader = importlib.machinery.ExtensionFileLoader("_setproctitle", path)
                spec = importlib.util.spec_from_file_location("_setproctitle", path, loader=loader)
                if spec is not None:
                    module = importlib.util.module_from_spec(spec)
                    setter: Callable[[str], None] = module.setproctitle
                    return setter
    raise ImportError("setproctitle has no C extension here; install it for this Python")


_set = _setter()


def set_title(role: str) -> None:
    """Show the role, as `mailproxy: ROLE`."""
    _set(f"mailproxy: {role}")
