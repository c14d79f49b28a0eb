"""An auth engine with a recorder around it, and what it is asked and answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mailproxy.auth.cache import AuthCache
from mailproxy.auth.chain import open_chain
from mailproxy.auth.database import Row
from mailproxy.auth.engine import Engine
from mailproxy.auth.mechanisms.claim import Context
from mailproxy.auth.mechanisms.registry import OFFERS
from mailproxy.auth.request import Request
from mailproxy.auth.resolver import Resolver
from mailproxy.auth.target_fields import Approach
from mailproxy.base.level import Level
from mailproxy.config.settings import DatabaseSettings
from tests.unit.auth.auth_child import SETTINGS, Table, plain

PROXY = {"proxy": "", "host": "10.0.0.1"}
OK = b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tpass=s\n"
FAIL = b"FAIL\t1\tuser=john\n"
TEMP = b"FAIL\t1\tuser=john\ttemp\n"
PARAMETERS = {b"service": b"imap", b"lip": b"127.0.0.1", b"rip": b"10.0.0.5"}


def john(password: bytes | None = b"s", /, **more: str) -> Table:
    return Table({"john": Row(password, {**PROXY, **more})})


class Room:
    """An engine with a recorder around it; slow work waits in `jobs`."""

    def __init__(
        self,
        *tables: Table,
        flags: tuple[DatabaseSettings, ...] = (),
        cache: bool = False,
        mechanism: str = "PLAIN",
        **changes: Any,
    ) -> None:
        settings = replace(
            SETTINGS, passdbs=flags or (DatabaseSettings("table", ""),) * len(tables), **changes
        )
        opening = iter(tables)
        self.chain = open_chain(settings, lambda _database: next(opening))
        self.cache = AuthCache(1 << 20, 100.0, 50.0) if cache else None
        self.jobs: list[tuple[Callable[[], object], Callable[..., None]]] = []
        self.queue_limit = 100
        self.logged: list[str] = []
        self.errors: list[str] = []
        self.lines: list[bytes] = []
        self.at_once: list[bool] = []
        self.challenges: list[bytes] = []
        self.mechanism = mechanism
        self.names: dict[str, tuple[str, ...]] = {}
        resolver = Resolver(self.submit, lambda: self.engine.now, self.log, self.query)
        self.used: list[tuple[str, Approach, str]] = []
        self.engine = Engine(
            settings,
            self.chain,
            self.cache,
            self.submit,
            resolver.resolve_all,
            self.log,
            lambda *backend: self.used.append(backend),
        )
        self.engine.now = 1000.0

    def submit(self, work: Callable[[], object], done: Callable[..., None]) -> bool:
        if len(self.jobs) >= self.queue_limit:
            return False
        self.jobs.append((work, done))
        return True

    def query(self, name: str) -> tuple[str, ...]:
        if name not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[name]

    def run_jobs(self) -> None:
        while self.jobs:
            work, done = self.jobs.pop(0)
            done(work())

    def log(self, level: Level, text: str) -> None:
        self.logged.append(text)
        if level is Level.ERROR:
            self.errors.append(text)

    def challenge(self, request: Request, challenge: bytes) -> None:
        self.challenges.append(challenge)

    def succeed(self, request: Request, line: bytes) -> None:
        self.lines.append(line)

    def fail(self, request: Request, line: bytes, at_once: bool) -> None:
        self.lines.append(line)
        self.at_once.append(at_once)

    def deliver(self, request: Request, line: bytes) -> None:
        raise AssertionError("nothing is held back here")

    def begin(self, response: bytes | None, parameters: dict[bytes, bytes] | None = None) -> Request:
        offer = OFFERS[self.mechanism]
        request = Request(self, 1, offer, offer.begin(Context(b"h", (), 1, 1, 0)), "22", self.engine.now)
        self.engine.begin(request, parameters or PARAMETERS, response)
        return request

    def login(
        self, user: bytes = b"john", password: bytes = b"s", acts_as: bytes = b"", rip: bytes = b"10.0.0.5"
    ) -> bytes:
        self.begin(plain(user, password, acts_as), {**PARAMETERS, b"rip": rip})
        self.run_jobs()
        return self.lines[-1]


def flags(*words: str) -> tuple[DatabaseSettings, ...]:
    return tuple(
        DatabaseSettings("table", "", deny="deny" in word, pass_on="pass" in word, master="master" in word)
        for word in words
    )
