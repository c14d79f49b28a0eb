"""The userdb `passwd-file`: uid, gid and home of the passdb's file, and its `userdb_` fields."""

from __future__ import annotations

from mailproxy.auth.database import Values
from mailproxy.base.errors import LookupFailure
from mailproxy.config.settings import DatabaseSettings
from mailproxy.passdb import Log
from mailproxy.passdb.passwd_file import PasswdFile
from mailproxy.userdb.ids import gid_of, uid_of
from mailproxy.userdb.prefetch import prefetched


class PasswdFileUserdb:
    """Looks users up in a file, which is read again whenever it has changed."""

    driver = "passwd-file"
    blocking = False

    def __init__(self, settings: DatabaseSettings, log: Log) -> None:
        """Raises ConfigError."""
        self._users = PasswdFile(settings, "userdb", log)

    def lookup(self, values: Values) -> dict[str, str] | None:
        """Find the user's fields. Raises LookupFailure when the file or an id in it is no good."""
        entry = self._users.find(values)
        if entry is None:
            return None
        fields: dict[str, str] = {}
        for key, text, resolve in (("uid", entry.uid, uid_of), ("gid", entry.gid, gid_of)):
            if text:
                number = resolve(text)
                if number is None:
                    raise LookupFailure(f"passwd-file: Invalid {key}")
                fields[key] = number
        fields |= {key: text for key, text in (("home", entry.home), ("mail", entry.mail)) if text}
        return fields | (prefetched(entry.fields(values)) or {})

    def close(self) -> None:
        """Nothing is open between lookups."""
