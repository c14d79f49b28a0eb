"""The lines that a login leaves in the log: a message and the elements that the administrator chose.

Source: Dovecot 1.0. `login_log_format_elements` is split at blanks; an element without a variable, or all of
whose variables are empty, is dropped. In `login_log_format` `%$` is the message and `%s` the elements,
whatever the comment in Dovecot's example says.
"""

from __future__ import annotations

from collections.abc import Callable

from mailproxy.base.variables import Template, Variable, parse
from mailproxy.session.client import Client

Values = dict[str, str]

_VALUES = frozenset({*"undslrabpmck$", "session"})


class LogLine:
    """Both settings, parsed once a worker."""

    __slots__ = ("_elements", "_forms", "_letters", "_render", "_wants_rare")

    def __init__(self, elements: str, line_format: str) -> None:
        templates = [parse(element) for element in elements.split(" ")]
        self._elements = [template for template in templates if template.letters]
        self._letters = tuple(dict.fromkeys(letter for one in self._elements for letter in one.letters))
        self._forms: dict[tuple[str, ...], Callable[[Values], str]] = {}
        """What expands all elements at once, by the letters that have a value: mostly the same."""
        # Made before a fork, as a process per connection needs one: with and without TLS and a domain.
        for empty in ("", "k", "ck", "d", "dk", "dck"):
            known = tuple([letter for letter in self._letters if letter not in empty])
            self._forms[known] = self._form(known)
        template = parse(line_format)
        self._render = _compile(template)
        # There `%s` is no service.
        others = [letter for letter in template.letters if letter != "s"]
        self._wants_rare = not _RARE.isdisjoint((*self._letters, *others))

    def render(self, message: str, client: Client, user: str, mechanism: bytes, service: str) -> str:
        """Return the line; `user` and `mechanism` are empty before auth knew them."""
        values = {
            "u": user,
            "l": client.lip,
            "r": client.rip,
            "m": mechanism.decode("ascii", "replace"),
            "c": "TLS" if client.tls else "secured" if client.secured else "",
            "k": client.tls,
            "session": client.session_id,
        }
        if self._wants_rare:
            _add_rare(values, client, user, service)
        known = tuple(filter(values.get, self._letters))
        form = self._forms.get(known)
        if form is None:
            form = self._forms[known] = self._form(known)
        values["s"] = form(values)
        values["$"] = message
        return self._render(values)

    def _form(self, known: tuple[str, ...]) -> Callable[[Values], str]:
        pieces: list[str | Variable] = []
        for element in self._elements:
            if any(letter in known for letter in element.letters):
                pieces += [", ", *element.pieces] if pieces else element.pieces
        return _compile(Template("", tuple(pieces), ()))


def _compile(template: Template) -> Callable[[Values], str]:
    """Return what expands the template, as one formatting operation if its variables are plain."""
    text = ""
    for piece in template.pieces:
        if isinstance(piece, str):
            text += piece.replace("%", "%%")
        elif piece == Variable(piece.name) and piece.name in _VALUES:
            text += f"%({piece.name})s"
        else:
            return template.expand
    return text.__mod__  # `text % values`, without a function of ours around it.


_RARE = frozenset("ndsabp")


def _add_rare(values: Values, client: Client, user: str, service: str) -> None:
    """Work out what Dovecot's own elements do not ask for."""
    name, _, domain = user.partition("@")
    values["n"], values["d"] = name, domain
    values["s"] = service
    values["a"], values["b"] = str(client.lport), str(client.rport)
    values["p"] = str(client.pid)
