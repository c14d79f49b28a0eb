"""The lines that a login leaves in the log: a message and the elements that the administrator chose.

Source: Dovecot 1.0. `login_log_format_elements` is split at blanks; an element without a variable, or all of
whose variables are empty, is dropped. In `login_log_format` `%$` is the message and `%s` the elements,
whatever the comment in Dovecot's example says.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailproxy.base.variables import Template, parse
from mailproxy.session.client import Client


class LogLine:
    """Both settings, parsed once a worker."""

    __slots__ = ("_elements", "_format")

    def __init__(self, elements: str, line_format: str) -> None:
        templates = [parse(element) for element in elements.split(" ") if element]
        self._elements: list[tuple[tuple[str, ...], Template]] = [
            (template.letters, template) for template in templates if template.letters
        ]
        self._format = parse(line_format)

    def render(self, message: str, values: Mapping[str, str]) -> str:
        """Return the line; `values` are printable and keyed by letter."""
        kept = []
        for letters, template in self._elements:
            for letter in letters:
                if values.get(letter):
                    kept.append(template.expand(values))
                    break
        return self._format.expand({**values, "$": message, "s": ", ".join(kept)})


def login_values(client: Client, user: str, mechanism: bytes, service: str) -> dict[str, str]:
    """Return what the elements may ask for; `user` and `mechanism` are empty before auth knew them."""
    name, _, domain = user.partition("@")
    return {
        "u": user,
        "n": name,
        "d": domain,
        "s": service,
        "l": client.lip,
        "r": client.rip,
        "a": str(client.lport),
        "b": str(client.rport),
        "p": str(client.pid),
        "m": mechanism.decode("ascii", "replace"),
        "c": "secured" if client.secured else "",
    }
