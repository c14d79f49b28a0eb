"""Files with secrets that every user of this machine can read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from mailproxy.base.text import printable
from mailproxy.config.build import active_protocols, uses_tls
from mailproxy.config.tree import Tree

_FILE_DRIVERS = ("sql", "ldap", "passwd-file")
# Words of a static database, which has them in the configuration itself.
_SECRETS = ("password=", "pass=")


def exposed_files(tree: Tree) -> list[str]:
    """Return a warning for each of them; one that cannot be looked at is somebody else's to complain of."""
    files = {where.file for path, where in tree.where.items() if path[-1] == "ssl_key_password"}
    files |= {*_key_files(tree), *_database_files(tree)}
    return [
        f"{printable(file)} holds secrets and is readable by every user: chmod 0640 or less"
        for file in sorted(files)
        if _is_readable_by_all(file)
    ]


def _key_files(tree: Tree) -> Iterator[str]:
    for protocol in active_protocols(tree):
        section = tree.root["protocol"][protocol]
        if uses_tls(tree, protocol):
            yield section["ssl_key_file"]
            yield from (block["ssl_key_file"] for block in section["local_name"].values())


def _database_files(tree: Tree) -> Iterator[str]:
    for key in tree.root["auth"].sections:
        for kind in ("passdb", "userdb"):
            for name, database in tree.root["auth"][key][kind].items():
                if database["driver"].lower() in _FILE_DRIVERS:
                    yield database["args"]
                elif any(word.startswith(_SECRETS) for word in database["args"].split()):
                    yield tree.where["auth", key, kind, name, "args"].file


def _is_readable_by_all(file: str) -> bool:
    try:
        mode = os.stat(file).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o004)
