"""Which of the processes of one auth section a login is for: users are spread by their names.

A user always meets the same process, so that each row is cached once, and a refused login of his delays the
next one. Where the name comes after the first message (CRAM-MD5, DIGEST-MD5, APOP, SASL without an initial
response), any process serves him, and his row may be cached in several.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, crc32

from mailproxy.auth.usernames import UsernameRefused, UsernameRules
from mailproxy.config.settings import AuthSettings


class Shares:
    """Computed once in the master. Without `rules` names count as they were typed."""

    def __init__(self, names: tuple[str, ...], rules: UsernameRules | None = None) -> None:
        self.names = names
        """Of the processes, which are those of their sockets in `login_dir`."""
        self._rules = rules

    @classmethod
    def of_section(cls, section: AuthSettings) -> Shares:
        """Return how the section's processes share its users."""
        return cls(section.process_names, UsernameRules(section))

    def number_for(self, mechanism: bytes, response: bytes | None) -> int | None:
        """Return the index in `names` for a request with this base64 response; None if any will do."""
        name = _mailbox(mechanism, response)
        if name is None:
            return None
        acts_as, user = name
        if self._rules is not None:
            try:
                identity = self._rules.identify(user, acts_as)
            except UsernameRefused:
                return 0
            user = (identity.login_user or identity.user).encode("utf-8", "surrogateescape")
        # Folded, since a database that ignores case has one row for both spellings.
        return crc32(user.lower()) % len(self.names)


def _mailbox(mechanism: bytes, response: bytes | None) -> tuple[bytes, bytes] | None:
    """Return whom the client acts as (or nothing) and who he is, if his first message tells."""
    try:
        message = a2b_base64(response or b"")
    except Error:
        return None
    if mechanism == b"PLAIN":
        parts = message.split(b"\0")
        if len(parts) != 3:
            return None
        return (b"" if parts[0] == parts[1] else parts[0], parts[1])
    first = message.partition(b"\x01")[0]
    if mechanism == b"LOGIN" and message:
        return b"", message
    if mechanism == b"XOAUTH2" and first.startswith(b"user="):
        return b"", first[5:]
    if mechanism == b"OAUTHBEARER" and first.startswith((b"n,a=", b"y,a=")):
        return b"", first[4:].removesuffix(b",").replace(b"=2C", b",").replace(b"=3D", b"=")
    return None
