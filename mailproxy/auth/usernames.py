"""The rules that make one canonical user name of what a client typed.

The same string is then used for lookup, cache key and backend. Bytes in, UTF-8 text with
`surrogateescape` out, so that any name survives unchanged; only ASCII is ever folded.
"""

from __future__ import annotations

from typing import NamedTuple

from mailproxy.base.variables import Template, parse
from mailproxy.config.settings import AuthSettings

# Such a name could not be sent to a backend, whatever the administrator allows.
_NEVER = b"\r\n\0"


class UsernameRefused(Exception):
    """The name breaks a rule; an ordinary failed login. The text is fit for the log."""


class Identity(NamedTuple):
    """The names of one login."""

    user: str
    """Who proves himself: the master of a master login."""
    login_user: str
    """Whom he acts as; empty when that is himself."""
    original: bytes
    """What was typed for `user`."""


class UsernameRules:
    """default_realm, translation, allowed characters and format of one auth section."""

    def __init__(self, settings: AuthSettings) -> None:
        chars = settings.username_chars.encode("utf-8", "surrogateescape")
        self._allowed = chars or bytes(byte for byte in range(256) if byte not in _NEVER)
        self._realm = settings.default_realm.encode("utf-8", "surrogateescape")
        self._separator = settings.master_user_separator[:1].encode("utf-8", "surrogateescape")
        self._translation = _translation(settings.username_translation)
        self._format: Template | None = parse(settings.username_format) if settings.username_format else None

    def identify(self, typed: bytes, acts_as: bytes) -> Identity:
        """Tell apart who proves himself and whom he acts as. Raises UsernameRefused.

        The name splits at the first separator, `login user` before it, `master user` behind it; no half may
        be empty, as no name may vanish from a master login. `acts_as` is SASL's authorization identity.
        """
        if self._separator and self._separator in typed:
            login, _, typed = typed.partition(self._separator)
            if not login or not typed:
                raise UsernameRefused("Empty username in a master login")
            if acts_as and acts_as != login:
                raise UsernameRefused("Authorization identity differs from the name before the separator")
            acts_as = login
        name = self.canonical(typed)
        if not acts_as:
            return Identity(name, "", typed)
        login_user = self.canonical(acts_as)
        return Identity(name, "" if login_user == name else login_user, typed)

    def identify_certified(self, name: bytes) -> Identity:
        """Take a certificate's name as it is: the rules are about typing. Raises UsernameRefused."""
        for byte in _NEVER:
            if byte in name:
                raise UsernameRefused(f"Username of the certificate contains 0x{byte:02x}")
        return Identity(name.decode("utf-8", "surrogateescape"), "", name)

    def canonical(self, typed: bytes) -> str:
        """Return the name to use. Raises UsernameRefused."""
        if not typed:
            raise UsernameRefused("Empty username")
        name = typed
        if self._realm and b"@" not in name:
            name += b"@" + self._realm
        if self._translation is not None:
            name = name.translate(self._translation)
        refused = name.translate(None, self._allowed)
        if refused or b"\r" in name or b"\n" in name or b"\0" in name:
            byte = refused[0] if refused else next(byte for byte in name if byte in _NEVER)
            raise UsernameRefused(f"Username contains disallowed character: 0x{byte:02x}")
        text = name.decode("utf-8", "surrogateescape")
        if self._format is None:
            return text
        text = self._format.expand(name_values(text))
        if not text:
            raise UsernameRefused("Empty username after auth_username_format")
        return text


def name_values(user: str) -> dict[str, str]:
    """Return the %-variables that a name alone decides."""
    local, _, domain = user.partition("@")
    return {"u": user, "n": local, "d": domain}


def _translation(pairs: str) -> bytes | None:
    raw = pairs.encode("utf-8", "surrogateescape")
    if len(raw) < 2:
        return None
    # A trailing byte without a partner has no meaning and is ignored, as Dovecot does.
    raw = raw[: len(raw) // 2 * 2]
    return bytes.maketrans(raw[::2], raw[1::2])
