"""Mixed traffic from a seed, with a model of what must be answered. Pure."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_BAD_LIMIT = 3
_LINE = rb"[^\r\n]*\r\n"


class Person(NamedTuple):
    """A user of the proxy. `subjects` are those of his messages; without any his backend echoes."""

    name: bytes
    password: bytes
    subjects: tuple[bytes, ...] = ()
    is_reachable: bool = True


class Step(NamedTuple):
    """Bytes to send, in pieces of that size, and a pattern of all that must come before the next step."""

    send: bytes
    want: bytes
    piece_bytes: int = 1 << 20
    is_echo: bool = False
    """What comes are the same bytes."""


class Conversation(NamedTuple):
    """What one client does; who ends it is the proxy, or the client by FIN or RST."""

    protocol: str
    kind: str
    steps: list[Step]
    end: str


class Writer:
    """Writes one conversation, and knows the state in which the proxy is."""

    def __init__(self, chance: random.Random, people: list[Person]) -> None:
        self._chance = chance
        self._person = chance.choice(people)
        self._tags = 0
        self._bad = 0
        self._refused = False
        self.steps: list[Step] = []

    def write(self, protocol: str) -> Conversation:
        """Return the conversation."""
        imap = protocol == "imap"
        self._say(b"", rb"\* OK " + _LINE if imap else rb"\+OK" + _LINE)
        small: list[Callable[[], None]] = (
            [self._imap_noop, self._imap_capability, self._imap_id, self._imap_abort, self._imap_refused]
            if imap
            else [self._pop3_capa, self._pop3_user, self._pop3_abort, self._pop3_refused]
        )
        for _ in range(self._chance.choice((0, 0, 0, 1, 1, 2, 3))):
            self._chance.choice([*small, self._bad_command(imap)])()
            if self._bad == _BAD_LIMIT:
                return Conversation(protocol, "too many bad commands", self.steps, "proxy")
        kind = self._chance.choices(("login", "logout", "leave", "half"), (12, 1, 1, 1))[0]
        if kind == "login":
            return self._login(protocol, imap)
        if kind == "logout":
            tag = self._tag()
            self._say(tag + b" LOGOUT", rb"\* BYE " + _LINE + tag + rb" OK " + _LINE) if imap else self._say(
                b"QUIT", rb"\+OK " + _LINE
            )
            return Conversation(protocol, kind, self.steps, "proxy")
        if kind == "half":
            self.steps.append(Step(b"x LOGIN cro" if imap else b"USER cro", b""))
        return Conversation(protocol, kind, self.steps, self._leaving())

    def _leaving(self) -> str:
        return self._chance.choice(("fin", "fin", "rst"))

    def _say(self, line: bytes, want: bytes) -> None:
        data = line + b"\r\n" if line else b""
        self.steps.append(Step(data, want, self._chance.choice((1, 7, 1 << 20, 1 << 20, 1 << 20))))

    def _tag(self) -> bytes:
        self._tags += 1
        return b"t%d" % self._tags

    # -- before the login -----------------------------------------------------------------------------------

    def _imap_noop(self) -> None:
        tag = self._tag()
        self._say(tag + b" NOOP", tag + rb" OK " + _LINE)

    def _imap_capability(self) -> None:
        tag = self._tag()
        self._say(tag + b" CAPABILITY", rb"\* CAPABILITY IMAP4rev1 " + _LINE + tag + rb" OK " + _LINE)

    def _imap_id(self) -> None:
        tag = self._tag()
        self._say(
            tag + b' ID ("name" "%x")' % self._chance.getrandbits(32),
            rb"\* ID " + _LINE + tag + rb" OK " + _LINE,
        )

    def _imap_abort(self) -> None:
        tag = self._tag()
        self._say(tag + b" AUTHENTICATE PLAIN", rb"\+ \r\n")
        self._say(b"*", tag + rb" BAD " + _LINE)

    def _imap_refused(self) -> None:
        if not self._refused:  # a second one waits for seconds
            self._refused = True
            tag = self._tag()
            self._say(
                tag + b" LOGIN %s wrong" % self._person.name, tag + rb" NO \[AUTHENTICATIONFAILED\] " + _LINE
            )

    def _pop3_capa(self) -> None:
        self._say(b"CAPA", rb"\+OK" + _LINE + rb"(?:[A-Z]" + _LINE + rb")+\.\r\n")

    def _pop3_user(self) -> None:
        self._say(b"USER " + self._person.name, rb"\+OK\r\n")

    def _pop3_abort(self) -> None:
        self._say(b"AUTH PLAIN", rb"\+ \r\n")
        self._say(b"*", b"-ERR " + _LINE)

    def _pop3_refused(self) -> None:
        if not self._refused:
            self._refused = True
            self._pop3_user()
            self._say(b"PASS wrong", rb"-ERR \[AUTH\] " + _LINE)

    def _bad_command(self, imap: bool) -> Callable[[], None]:
        def say() -> None:
            self._bad += 1
            if imap:
                tag = self._tag()
                last = self._bad == _BAD_LIMIT
                self._say(tag + b" SELECT INBOX", (rb"\* BYE " if last else tag + b" BAD ") + _LINE)
            else:
                self._say(b"STAT", b"-ERR " + _LINE)

        return say

    # -- the login and after it -----------------------------------------------------------------------------

    def _login(self, protocol: str, imap: bool) -> Conversation:
        person = self._person
        way = self._chance.choice(self._imap_ways() if imap else self._pop3_ways())
        if not person.is_reachable:
            way(b"NO [UNAVAILABLE]" if imap else b"-ERR [SYS/TEMP]")
            return Conversation(protocol, "backend down", self.steps, self._leaving())
        way(b"OK" if imap else b"+OK")
        if not person.subjects:
            for _ in range(self._chance.randrange(1, 6)):
                block = self._chance.randbytes(int(self._chance.expovariate(1 / 6000)) + 1)
                self.steps.append(Step(block, b"", self._chance.choice((1000, 1 << 20)), is_echo=True))
            return Conversation(protocol, "echo", self.steps, self._leaving())
        self._read_mail(imap)
        return Conversation(protocol, "read mail", self.steps, "proxy")

    def _imap_ways(self) -> list[Callable[[bytes], None]]:
        name, password = self._person.name, self._person.password
        message = base64.b64encode(b"\0" + name + b"\0" + password)

        def say(tag: bytes, *lines: bytes) -> Callable[[bytes], None]:
            def act(word: bytes) -> None:
                for line in lines[:-1]:
                    self._say(line, rb"\+ " + _LINE)
                # Dovecot tells its capabilities before or within the answer.
                self._say(
                    lines[-1],
                    rb"(?:\* CAPABILITY " + _LINE + b")?" + re.escape(tag + b" " + word) + b" " + _LINE,
                )

            return act

        tag = self._tag()
        literals = b"%s LOGIN {%d+}\r\n%s {%d+}\r\n%s" % (tag, len(name), name, len(password), password)
        return [
            say(tag, b"%s LOGIN %s %s" % (tag, name, password)),
            say(tag, b'%s login "%s" "%s"' % (tag, name, password)),
            say(tag, literals),
            say(
                tag,
                b"%s LOGIN {%d}" % (tag, len(name)),
                b"%s {%d}" % (name, len(password)),
                password,
            ),
            say(tag, tag + b" AUTHENTICATE PLAIN", message),
            say(tag, tag + b" AUTHENTICATE PLAIN " + message),
        ]

    def _pop3_ways(self) -> list[Callable[[bytes], None]]:
        name, password = self._person.name, self._person.password
        message = base64.b64encode(b"\0" + name + b"\0" + password)

        def user(word: bytes) -> None:
            self._say(b"USER " + name, rb"\+OK\r\n")
            self._say(b"PASS " + password, re.escape(word) + b" " + _LINE)

        def plain(word: bytes) -> None:
            self._say(b"AUTH PLAIN", rb"\+ \r\n")
            self._say(message, re.escape(word) + b" " + _LINE)

        def initial(word: bytes) -> None:
            self._say(b"AUTH PLAIN " + message, re.escape(word) + b" " + _LINE)

        return [user, plain, initial]

    def _read_mail(self, imap: bool) -> None:
        number = self._chance.randrange(len(self._person.subjects))
        subject = b"Subject: " + re.escape(self._person.subjects[number]) + rb"\r\n"
        if imap:
            tag = self._tag()
            self._say(tag + b" SELECT INBOX", rb"(?:\* " + _LINE + b")+" + tag + rb" OK " + _LINE)
            tag = self._tag()
            fetch = b"%s FETCH %d BODY.PEEK[HEADER.FIELDS (SUBJECT)]" % (tag, number + 1)
            self._say(fetch, rb"\* \d+ FETCH " + _LINE + subject + rb"\r\n" + _LINE + tag + rb" OK " + _LINE)
            tag = self._tag()
            self._say(tag + b" LOGOUT", rb"\* BYE " + _LINE + tag + rb" OK " + _LINE)
        else:
            self._say(b"STAT", rb"\+OK %d " % len(self._person.subjects) + _LINE)
            any_lines = rb"(?:" + _LINE + rb")*?"
            self._say(
                b"TOP %d 0" % (number + 1), rb"\+OK" + _LINE + any_lines + subject + any_lines + rb"\.\r\n"
            )
            self._say(b"QUIT", rb"\+OK " + _LINE)


def conversations(seed: int, people: list[Person]) -> Iterator[Conversation]:
    """Return endless traffic, the same for the same seed."""
    chance = random.Random(seed)
    while True:
        yield Writer(chance, people).write(chance.choice(("imap", "imap", "imap", "pop3")))
