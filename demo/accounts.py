"""Who can log in to the demo, and on which backend his mail lives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STATE = Path(__file__).resolve().parent.parent / "run"
"""Everything the demo writes; may be deleted when it does not run."""

HOST = "127.0.0.1"
IMAP_PORT = 10143
POP3_PORT = 10110


@dataclass(frozen=True, slots=True)
class Backend:
    """A demo server pair: pymap for IMAP and Twisted for POP3, over the same Maildirs."""

    name: str
    imap_port: int
    pop3_port: int

    @property
    def folder(self) -> Path:
        """Its users and their mail."""
        return STATE / "backends" / self.name


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the proxy knows him (`user`) and as his backend does (`name`)."""

    user: str
    password: str
    backend: Backend
    destuser: str = ""
    """Empty when the backend knows him by the same name."""

    @property
    def name(self) -> str:
        """The name at the backend, which is also the name of his Maildir there."""
        return self.destuser or self.user

    @property
    def maildir(self) -> Path:
        """His mail, shared by both servers of the backend."""
        return self.backend.folder / self.name


ONE = Backend("one", 10243, 10210)
TWO = Backend("two", 10343, 10310)
BACKENDS = (ONE, TWO)
ACCOUNTS = (
    Account("john", "john-demo", ONE),
    Account("joe", "joe-demo", TWO, "joe@example.com"),
)
