"""Asking backends what they can do: what is learned, when, and what a hostile one can do to auth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from mailproxy.auth.target_fields import Approach, approach_of
from mailproxy.base.level import Level
from mailproxy.net.reactor import Reactor
from mailproxy.process import prober
from mailproxy.process.prober import Prober
from mailproxy.process.question import Question
from mailproxy.proto.haproxy import render
from tests.harness.ports import free_port
from tests.harness.scripted_backend import Peer, Script, ScriptedBackend

IMAP_WORDS = frozenset((b"IDLE", b"LITERAL+", b"THREAD=REFERENCES"))
POP3_WORDS = frozenset((b"TOP", b"UIDL"))
HOST = "127.0.0.1"


class Stage:
    """A prober, and what it says."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.log: list[tuple[Level, str]] = []
        self.told: list[bytes] = []
        questions = {
            "imap": Question(IMAP_WORDS, None, ()),
            "pop3": Question(POP3_WORDS, None, ("127.0.0.33",)),
        }
        self.prober = Prober(
            self.reactor, questions, lambda level, text: self.log.append((level, text)), self.told.append
        )

    def use(self, backend: ScriptedBackend | int, service: str = "imap", **fields: str) -> None:
        port = backend if isinstance(backend, int) else backend.port
        self.prober.used(service, approach_of({"host": HOST, "port": str(port), **fields}), HOST)

    def turn_until(self, condition: Callable[[], object], limit_s: float = 10.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, f"not in time; told {self.told}, log {self.log}"
            self.reactor.run_once(0.02)


@pytest.fixture
def stage() -> Iterator[Stage]:
    found = Stage()
    yield found
    found.prober.close()
    found.reactor.close()


def imap_answers(words: bytes) -> Script:
    """Return a backend that can do this."""

    def script(peer: Peer) -> None:
        peer.send(b"* OK hello\r\n")
        tag = peer.line().removesuffix(b" CAPABILITY\r\n")
        peer.send(b"* CAPABILITY %s\r\n%s OK done\r\n" % (words, tag))
        assert peer.line().endswith(b" LOGOUT\r\n")
        peer.until_end()

    return script


def test_what_no_backend_may_lack(stage: Stage) -> None:
    """Each one is asked once, and the workers hear of it when there is news."""
    with (
        ScriptedBackend(imap_answers(b"IMAP4rev1 IDLE Thread=references")) as first,
        ScriptedBackend(imap_answers(b"IMAP4rev1 idle LITERAL+ X")) as second,
        ScriptedBackend(imap_answers(b"IMAP4rev1 IDLE")) as third,
    ):
        assert stage.prober.lines() == b""
        for _ in range(5):
            stage.use(first)
        stage.turn_until(lambda: stage.told == [b"LACKING\timap\tLITERAL+\n"])
        stage.use(second)
        stage.turn_until(lambda: stage.told[1:] == [b"LACKING\timap\tLITERAL+\tTHREAD=REFERENCES\n"])
        assert stage.prober.lines() == stage.told[1]
        stage.use(third)
        stage.turn_until(lambda: third.peers and third.peer.is_over.is_set())
        assert len(stage.told) == 2
        for backend in (first, second, third):
            assert len(backend.peers) == 1
            backend.check()
    assert stage.log == []


def pop3_answers(capa: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.send(b"+OK hello\r\n")
        assert peer.line() == b"CAPA\r\n"
        peer.send(capa)
        assert peer.line() == b"QUIT\r\n"
        peer.until_end()

    return script


@pytest.mark.parametrize(
    ("capa", "told"),
    [
        (b"+OK\r\nuidl\r\nTOP 5\r\nX\r\n.\r\n", b""),
        (b"+OK list\r\nUIDL\r\n.\r\n", b"LACKING\tpop3\tTOP\n"),
        (b"+OK\r\n.\r\n", b"LACKING\tpop3\tTOP\tUIDL\n"),
        (b"-ERR what?\r\n", b""),
    ],
)
def test_pop3(stage: Stage, capa: bytes, told: bytes) -> None:
    """One that does not know CAPA has said nothing."""
    with ScriptedBackend(pop3_answers(capa)) as backend:
        stage.use(backend, "pop3")
        stage.turn_until(lambda: backend.peers and backend.peer.is_over.is_set())
        assert b"".join(stage.told) == told
        backend.check()
    assert stage.log == []


def test_words_that_are_data(stage: Stage) -> None:
    """Whatever a backend announces, workers are told of our own words only."""
    junk = b"".join(b"X%d\t\x01\xff\r\n" % number for number in range(90))
    with ScriptedBackend(pop3_answers(b"+OK\r\n" + junk + b"UIDL\r\n.\r\n")) as backend:
        stage.use(backend, "pop3")
        stage.turn_until(lambda: stage.told == [b"LACKING\tpop3\tTOP\n"])
        backend.check()


def says(*pieces: bytes) -> Script:
    """Return a backend that waits for nothing."""

    def script(peer: Peer) -> None:
        for piece in pieces:
            peer.send(piece)
        peer.until_end()

    return script


@pytest.mark.parametrize("service", ["imap", "pop3"])
@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"220 ESMTP\r\n",),
        (b"\x16\x03\x01\xff\xff\r\n",),
        (b"* BYE\r\n",),
        (b"* PREAUTH in\r\n",),
        (b"-ERR\r\n",),
        (b"x" * 100_000,),
        (b"* OK\r\n", b"* x\r\n" * 5000),
        (b"+OK\r\n", b"+OK\r\n" + b"x\r\n" * 5000),
        (b"+OK\r\n+OK\r\n.\r\n",),
        (b"* OK hi\r\nP00000000 OK\r\n* CAPABILITY X\r\n",),
    ],
)
def test_hostile_backends_limit_nobody(
    stage: Stage, service: str, pieces: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B04 to B08: given up in time, told once in the log, and never sent more than a question."""
    monkeypatch.setattr(prober, "PATIENCE_S", 0.4)
    with ScriptedBackend(says(*pieces)) as backend:
        stage.use(backend, service)
        stage.turn_until(lambda: stage.log, 5)
        stage.turn_until(lambda: backend.peers and backend.peer.is_over.is_set())
        assert bytes(backend.peer.received).split(b" ")[-1] in (b"", b"CAPABILITY\r\n", b"CAPA\r\n")
    ((level, text),) = stage.log
    assert level is Level.WARNING
    assert text.startswith(f"Can't learn the capabilities of {service} backend {HOST}: ")
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 300
    assert stage.told == []


def test_it_is_asked_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sooner after a failure, which leaves what is known; the log has one line for each streak."""
    monkeypatch.setattr(prober, "REFRESH_S", 0.02)
    monkeypatch.setattr(prober, "RETRY_S", 0.01)
    with ScriptedBackend(imap_answers(b"IMAP4rev1 IDLE LITERAL+")) as backend:
        stage.use(backend)
        stage.turn_until(lambda: len(backend.peers) > 3)
        assert stage.told == [b"LACKING\timap\tTHREAD=REFERENCES\n"]
        backend.play(lambda peer: peer.reset())
        stage.turn_until(lambda: len(backend.peers) > 3)
        assert stage.prober.lines() == stage.told[0]
        assert len(stage.told) == len(stage.log) == 1
        backend.play(imap_answers(b"IMAP4rev1 IDLE LITERAL+ THREAD=REFERENCES"))
        stage.turn_until(lambda: stage.told[1:] == [b"LACKING\timap\n"])


def test_what_nobody_uses_is_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It limits no longer, is asked no longer, and is asked at once when it is used again."""
    monkeypatch.setattr(prober, "REFRESH_S", 0.05)
    monkeypatch.setattr(prober, "FORGET_S", 0.2)
    with ScriptedBackend(imap_answers(b"IMAP4rev1 IDLE LITERAL+")) as backend:
        stage.use(backend)
        stage.turn_until(lambda: stage.told[1:] == [b"LACKING\timap\n"])
        asked = len(backend.peers)
        stage.use(backend)
        stage.turn_until(lambda: len(stage.told) == 3)
        assert len(backend.peers) == asked + 1


def test_few_at_a_time_and_few_in_all(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """B01: silent backends take neither descriptors nor memory without bound."""
    monkeypatch.setattr(prober, "_BACKENDS", 30)
    monkeypatch.setattr(prober, "PATIENCE_S", 0.3)
    with ScriptedBackend(says()) as backend:
        for number in range(50):
            stage.use(backend, proxy_timeout="1", source_ip=f"127.0.1.{number + 1}")
        stage.turn_until(lambda: len(backend.peers) == 8)
        for _ in range(5):
            stage.reactor.run_once(0)
        assert len(backend.peers) == 8
        stage.turn_until(lambda: len(stage.log) == 30)
        assert len(backend.peers) == 30


def test_a_header_and_a_source_address(stage: Stage) -> None:
    """As a login would come, but in nobody's name; a row's own address goes before the setting."""

    def script(peer: Peer) -> None:
        peer.expect(render(None))
        pop3_answers(b"+OK\r\n.\r\n")(peer)

    with ScriptedBackend(script) as backend:
        stage.use(backend, "pop3", haproxy="yes")
        stage.use(backend, "pop3", haproxy="yes", source_ip="127.0.0.44")
        stage.turn_until(lambda: len(backend.peers) == 2)
        sources = {peer.address for peer in backend.peers}
        stage.turn_until(lambda: all(peer.is_over.is_set() for peer in backend.peers))
        backend.check()
    assert sources == {"127.0.0.33", "127.0.0.44"}


@pytest.mark.parametrize("fields", [{"ssl": "yes"}, {"starttls": "any-cert"}])
def test_tls_that_cannot_be(stage: Stage, fields: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """T15: without TLS there is no question."""
    monkeypatch.setattr(prober, "PATIENCE_S", 0.3)
    with ScriptedBackend(says(b"* OK\r\n")) as backend:
        stage.use(backend, **fields)
        stage.turn_until(lambda: stage.log)
        stage.turn_until(lambda: backend.peers and backend.peer.is_over.is_set())
        assert b"CAPABILITY" not in backend.peer.received


def test_whom_nobody_asks(stage: Stage) -> None:
    """Other services, and everybody after the end."""
    port = free_port()
    stage.use(port, "smtp")
    stage.prober.close()
    stage.use(port)
    for _ in range(5):
        stage.reactor.run_once(0)
    assert stage.log == []
    assert Prober(stage.reactor, {"imap": Question(frozenset(), None, ())}, print, print).questions == {}


def test_the_end(stage: Stage) -> None:
    """Whoever is being asked is left, and nothing is said about it."""
    with ScriptedBackend(says()) as backend:
        stage.use(backend)
        stage.turn_until(lambda: backend.peers)
        stage.prober.close()
        stage.turn_until(lambda: backend.peer.is_over.is_set())
    assert stage.log == []
    assert stage.told == []


def test_an_error_of_ours_ends_one_visit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next backend is asked all the same."""
    stage.prober.used("imap", Approach("h", "not a port", "", False, "", False), HOST)
    assert [text.partition(" in ")[0] for _, text in stage.log[:1]] == ["BUG: ValueError"]
    with ScriptedBackend(imap_answers(b"IDLE LITERAL+")) as backend:
        stage.use(backend)
        stage.turn_until(lambda: stage.told)


def test_to_note_a_known_backend_costs_next_to_nothing(stage: Stage) -> None:
    """It happens at every login."""
    approach = approach_of({"host": HOST, "port": str(free_port())})
    stage.prober.used("imap", approach, HOST)
    count = 20_000
    best_s = 1.0
    for _ in range(5):
        start = time.process_time()
        for _ in range(count):
            stage.prober.used("imap", approach, HOST)
        best_s = min(best_s, (time.process_time() - start) / count)
    assert best_s < 2e-6
