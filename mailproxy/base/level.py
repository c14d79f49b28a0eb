"""Log levels, as Dovecot 1.0 knows them: there is no debug level, such lines are info."""

from __future__ import annotations

from enum import Enum


class Level(Enum):
    """A level's value is its letter in the frames between child and master."""

    INFO = "I"
    WARNING = "W"
    ERROR = "E"
    FATAL = "F"
