"""User and group ids, which configuration and databases may give by name."""

from __future__ import annotations

import grp
import pwd


def uid_of(text: str) -> str | None:
    """Return the number of a user given by number or name, None if there is no such name."""
    if text.isascii() and text.isdecimal():
        return text
    try:
        return str(pwd.getpwnam(text).pw_uid)
    except (KeyError, ValueError):
        return None


def gid_of(text: str) -> str | None:
    """Return the number of a group given by number or name, None if there is no such name."""
    if text.isascii() and text.isdecimal():
        return text
    try:
        return str(grp.getgrnam(text).gr_gid)
    except (KeyError, ValueError):
        return None
