"""A POP3 server for the demo: `python -m demo.pop3_backend one`. Twisted does the work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import BinaryIO

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.internet.protocol import ServerFactory
from twisted.mail.maildir import MaildirMailbox
from twisted.mail.pop3 import POP3, IMailbox
from zope.interface import implementer

from demo.accounts import ACCOUNTS, BACKENDS, HOST, Account


class BinaryMaildir(MaildirMailbox):
    """Twisted's Maildir opens mail as text, but its POP3 server wants bytes."""

    def getMessage(self, i: int) -> BinaryIO:
        """Return an open file; the server closes it."""
        return open(self.list[i], "rb")


@implementer(IRealm)
class Mailboxes:
    """Finds the Maildir of a user whose password was right."""

    def __init__(self, accounts: list[Account]) -> None:
        self._maildirs = {account.name.encode(): account.maildir for account in accounts}

    def requestAvatar(
        self, avatar_id: bytes, _mind: object, *_interfaces: object
    ) -> tuple[object, BinaryMaildir, Callable[[], None]]:
        """Return what a Portal wants: the interface, the mailbox, and what to do at logout."""
        return IMailbox, BinaryMaildir(bytes(self._maildirs[avatar_id])), lambda: None


class Sessions(ServerFactory):
    """Makes a POP3 protocol for each connection."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def buildProtocol(self, _address: object) -> POP3:
        """Return a session that asks our portal."""
        session = POP3()
        session.portal = self._portal
        session.factory = self
        return session


def main(name: str) -> None:
    """Serve the backend of that name until a signal ends it."""
    backend = next(backend for backend in BACKENDS if backend.name == name)
    accounts = [account for account in ACCOUNTS if account.backend is backend]
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    for account in accounts:
        checker.addUser(account.name.encode(), account.password.encode())
    portal = Portal(Mailboxes(accounts), [checker])
    reactor.listenTCP(backend.pop3_port, Sessions(portal), interface=HOST)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
