"""The rules that make one canonical user name of what a client typed.

The same string is then used for lookup, cache key and backend. Bytes in, UTF-8 text with
`surrogateescape` out, so that any name survives unchanged; only ASCII is ever folded.
"""

from __future__ import annotations

from mailproxy.base.variables import Template, parse
from mailproxy.config.settings import AuthSettings

# Such a name could not be sent to a backend, whatever the administrator allows.
_NEVER = b"\r\n\0"


class UsernameRefused(Exception):
    """The name breaks a rule; an ordinary failed login. The text is fit for the log."""


class UsernameRules:
    """default_realm, translation, allowed characters and format of one auth section."""

    def __init__(self, settings: AuthSettings) -> None:
        chars = settings.username_chars.encode("utf-8", "surrogateescape")
        self._allowed = chars or bytes(byte for byte in range(256) if byte not in _NEVER)
        self._realm = settings.default_realm.encode("utf-8", "surrogateescape")
        self._translation = _translation(settings.username_translation)
        self._format: Template | None = parse(settings.username_format) if settings.username_format else None

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


def split_master(typed: bytes, separator: bytes) -> tuple[bytes, bytes] | None:
    """Split `login user + separator + master user` at the first separator, None where there is none.

    Raises UsernameRefused when a half is empty: no name may vanish from a master login.
    """
    if not separator or separator not in typed:
        return None
    login, _, master = typed.partition(separator)
    if not login or not master:
        raise UsernameRefused("Empty username in a master login")
    return login, master


def _translation(pairs: str) -> bytes | None:
    raw = pairs.encode("utf-8", "surrogateescape")
    if len(raw) < 2:
        return None
    # A trailing byte without a partner has no meaning and is ignored, as Dovecot does.
    raw = raw[: len(raw) // 2 * 2]
    return bytes.maketrans(raw[::2], raw[1::2])
