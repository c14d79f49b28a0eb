"""The userdb `static`: `uid=.. gid=.. [key=value ...] [allow_all_users=yes]`, the same for every user."""

from __future__ import annotations

from mailproxy.auth.database import Values
from mailproxy.base.variables import AUTH_VARIABLES, Template, parse
from mailproxy.config.settings import DatabaseSettings
from mailproxy.passdb import refused
from mailproxy.userdb.ids import gid_of, uid_of


class StaticUserdb:
    """Gives every user the configured fields, %-expanded; ids are resolved once, at start."""

    driver = "static"
    blocking = False

    def __init__(self, settings: DatabaseSettings) -> None:
        """Raises ConfigError when uid or gid is missing or names nobody."""
        fields: dict[str, str] = {}
        for word in settings.args.split():
            key, _, value = word.partition("=")
            fields[key] = value
        self.allow_all_users = fields.pop("allow_all_users", "no") == "yes"
        """Whether a user counts as existing without asking the passdbs."""
        for key, resolve in (("uid", uid_of), ("gid", gid_of)):
            if not fields.get(key):
                raise refused(settings, f"static userdb: {key} missing")
            number = resolve(fields[key])
            if number is None:
                raise refused(settings, f"static userdb: Invalid {key} '{fields[key]}'")
            fields[key] = number
        self._fields: dict[str, Template] = {}
        for key, value in fields.items():
            self._fields[key] = template = parse(value, AUTH_VARIABLES)
            if template.unknown:
                raise refused(settings, f"static userdb: Unknown variable '%{template.unknown[0]}' in {key}")

    def lookup(self, values: Values) -> dict[str, str]:
        """Return the fields; every user exists."""
        return {key: template.expand(values) for key, template in self._fields.items()}

    def close(self) -> None:
        """Nothing is open."""
