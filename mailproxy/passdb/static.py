"""The passdb `static`: the same answer for every user, from its `args`; a name of later Dovecot."""

from __future__ import annotations

from mailproxy.auth.database import Row, Values
from mailproxy.base.variables import AUTH_VARIABLES, Template, parse
from mailproxy.config.settings import DatabaseSettings
from mailproxy.passdb import refused


class StaticPassdb:
    """`password=… | nopassword=y`, then fields as `key=value` words, whose values are %-expanded."""

    driver = "static"
    default_scheme = "PLAIN"
    blocking = False
    cache_key: tuple[str, ...] | None = None
    """Nothing to gain: the answer costs less than the cache."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Raises ConfigError for an unknown variable, or when neither kind of password is given."""
        self._fields: dict[str, Template] = {}
        for word in settings.args.split():
            key, _, value = word.partition("=")
            self._fields[key] = template = parse(value, AUTH_VARIABLES)
            if template.unknown:
                raise refused(settings, f"static passdb: Unknown variable %{template.unknown[0]} in {key}")
        self._password = self._fields.pop("password", None)
        if self._fields.pop("nopassword", None) is not None:
            self._password = None
        elif self._password is None:
            raise refused(settings, "static passdb: password missing (or nopassword=y, to accept any)")

    def lookup(self, values: Values) -> Row:
        """Return the configured answer; every user exists."""
        fields = {key: template.expand(values) for key, template in self._fields.items()}
        if self._password is None:
            return Row(None, fields)
        return Row(self._password.expand(values).encode("utf-8", "surrogateescape"), fields)

    def close(self) -> None:
        """Nothing is open."""
