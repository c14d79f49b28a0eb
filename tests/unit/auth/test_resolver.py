"""Names to addresses, with a name service and a clock of our own."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from mailproxy.auth.resolver import FAILURE_TTL_S, GRACE_S, TTL_S, Resolver, interleave, query_system
from mailproxy.base.level import Level


class Service:
    """A name service; queries wait in `jobs` until they are run."""

    def __init__(self) -> None:
        self.now = 100.0
        self.addresses: tuple[str, ...] = ("10.0.0.1",)
        self.failure: Exception | None = None
        self.asked: list[str] = []
        self.answers: list[tuple[tuple[str, ...], str]] = []
        self.logged: list[str] = []
        self.jobs: list[tuple[Callable[[], object], Callable[..., None]]] = []
        self.jobs_limit = 10
        self.resolver = Resolver(self.submit, lambda: self.now, self.log, self.query)

    def submit(self, work: Callable[[], object], done: Callable[..., None]) -> bool:
        if len(self.jobs) >= self.jobs_limit:
            return False
        self.jobs.append((work, done))
        return True

    def log(self, level: Level, text: str) -> None:
        assert level is Level.WARNING
        self.logged.append(text)

    def query(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        if self.failure is not None:
            raise self.failure
        return self.addresses

    def run(self) -> None:
        while self.jobs:
            work, done = self.jobs.pop(0)
            done(work())

    def ask(self, name: str = "mail") -> None:
        self.resolver.resolve(name, lambda addresses, failure: self.answers.append((addresses, failure)))

    def resolved(self, name: str = "mail") -> tuple[tuple[str, ...], str]:
        self.ask(name)
        self.run()
        return self.answers[-1]


def test_asks_once_in_a_minute() -> None:
    service = Service()
    assert service.resolved() == service.resolved("MAIL") == (("10.0.0.1",), "")
    service.now += TTL_S - 1
    assert service.resolved() == (("10.0.0.1",), "")
    assert service.asked == ["mail"]
    service.now += TTL_S + GRACE_S
    service.addresses = ("10.0.0.2",)
    assert service.resolved() == (("10.0.0.2",), "")
    assert service.asked == ["mail", "mail"]


def test_name_in_use_is_refreshed_behind_the_scenes() -> None:
    """B01: neither a slow name service nor one that begins to hang delays a login."""
    service = Service()
    service.resolved()
    service.now += TTL_S + 1
    service.addresses = ("10.0.0.2",)
    service.answers.clear()
    service.ask()
    service.ask()
    assert (service.answers, len(service.jobs)) == ([(("10.0.0.1",), "")] * 2, 1)
    service.run()
    assert len(service.answers) == 2
    assert service.resolved() == (("10.0.0.2",), "")


def test_who_asks_together_shares_one_query_and_waits_for_it() -> None:
    service = Service()
    for _ in range(5):
        service.ask()
    assert (service.answers, service.asked, len(service.jobs)) == ([], [], 1)
    service.run()
    assert service.answers == [(("10.0.0.1",), "")] * 5


def test_failure_is_remembered_for_a_short_time() -> None:
    service = Service()
    service.failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert service.resolved() == service.resolved() == ((), "Name or service not known")
    assert service.asked == ["mail"]
    service.now += FAILURE_TTL_S + 1
    service.failure = None
    assert service.resolved() == (("10.0.0.1",), "")
    assert service.logged == []


def test_old_answer_outlives_the_name_service() -> None:
    """B01: with DNS down nobody waits but the first, and the log hears of it once."""
    service = Service()
    service.resolved()
    service.failure = OSError(0, "Temporary failure in name resolution")
    for _ in range(3):
        service.now += TTL_S + GRACE_S + 1
        assert service.resolved()[0] == ("10.0.0.1",)
    assert len(service.asked) == 4
    expected = (
        "DNS lookup of mail failed, its old addresses stay in use: Temporary failure in name resolution"
    )
    assert service.logged == [expected]
    service.now += FAILURE_TTL_S + 1
    service.answers.clear()
    service.ask()
    assert service.answers == [(("10.0.0.1",), "")]
    service.failure = None
    service.addresses = ("10.0.0.2",)
    service.run()
    assert service.resolved() == (("10.0.0.2",), "")


def test_driver_that_raises_something_else() -> None:
    service = Service()
    service.failure = KeyError("x")
    assert service.resolved() == ((), "KeyError")
    assert service.resolved("other") == ((), "KeyError")


def test_name_without_an_address() -> None:
    service = Service()
    service.addresses = ("fe80::1%eth0",)
    assert service.resolved() == ((), "no address")


def test_no_thread_left() -> None:
    """The answer comes at once, and the next one may ask again."""
    service = Service()
    service.jobs_limit = 0
    service.ask()
    assert service.answers == [((), "too many names are being looked up")]
    service.jobs_limit = 1
    assert service.resolved() == (("10.0.0.1",), "")


def test_names_that_nobody_asks_for_are_forgotten() -> None:
    """A random name a login does not fill the memory."""
    service = Service()
    for number in range(1100):
        service.resolved(f"host{number}")
    service.asked.clear()
    service.resolved("host1099")
    service.resolved("host0")
    assert service.asked == ["host0"]


def test_several_names() -> None:
    service = Service()
    found: list[tuple[dict[str, tuple[str, ...]], dict[str, str]]] = []
    service.resolver.resolve_all(
        ["a", "b", "a"], lambda resolved, failures: found.append((resolved, failures))
    )
    assert (found, len(service.jobs)) == ([], 2)
    service.failure = OSError(1, "down")
    service.run()
    assert found == [({"a": (), "b": ()}, {"a": "down", "b": "down"})]
    service.resolver.resolve_all([], lambda resolved, failures: found.append((resolved, failures)))
    assert found[1] == ({}, {})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((), ()),
        (("10.0.0.1", "10.0.0.2", "10.0.0.1"), ("10.0.0.1", "10.0.0.2")),
        (
            ("::1", "::2", "10.0.0.1", "10.0.0.2", "10.0.0.3"),
            ("::1", "10.0.0.1", "::2", "10.0.0.2", "10.0.0.3"),
        ),
        (("10.0.0.1", "::1", "::2"), ("10.0.0.1", "::1", "::2")),
    ],
)
def test_families_take_turns(found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert interleave(found) == expected


def test_system_resolver() -> None:
    """`localhost` needs no name server."""
    assert set(query_system("localhost")) & {"127.0.0.1", "::1"}
