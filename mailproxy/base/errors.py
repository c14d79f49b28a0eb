"""Errors by radius: each class says how much of the program its fault may take down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in the configuration, where, and what to do about it."""

    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Render in Dovecot's words; a problem without a line is about the whole configuration."""
        if self.file and self.line:
            return f"Error in configuration file {self.file} line {self.line}: {self.text}"
        return self.text


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds everything found, in file order.

    Radius: start-up ends with status 89; on a reload nothing changes.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class LookupFailure(Exception):
    """A database could not answer. Radius: this request, which becomes a temporary failure.

    The text goes to the log, so it must hold no secret.
    """


class PeerViolation(Exception):
    """Another process broke the protocol between us. Radius: that connection."""
