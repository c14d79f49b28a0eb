"""A worker's link to auth, against a scripted auth server on a Unix socket."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailproxy.base.level import Level
from mailproxy.base.limits import AUTH_LINE_BYTES, AUTH_WAIT_S
from mailproxy.ipc.auth_protocol import Outcome, Reply, render_parameters
from mailproxy.net.reactor import Reactor
from mailproxy.process import auth_link
from mailproxy.process.auth_link import AuthLink

GREETING = b"VERSION\t1\t0\nMECH\tPLAIN\tplaintext\nMECH\tAPOP\tprivate\nSPID\t77\nCUID\t5\nNEWS\nDONE\n"
PARAMETERS = render_parameters(b"imap", False, b"127.0.0.1", b"10.0.0.5")


class Asker:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.losses = 0

    def on_auth_reply(self, reply: Reply) -> None:
        self.replies.append(reply)

    def on_auth_lost(self) -> None:
        self.losses += 1


class Stage:
    """The link with its reactor, and the server's side, which a test plays."""

    def __init__(self, folder: Path) -> None:
        self.reactor = Reactor()
        self.path = str(folder / "auth")
        self.log: list[tuple[Level, str]] = []
        self.ready = 0
        self.news: list[dict[bytes, frozenset[bytes]]] = []
        self.link = AuthLink(
            self.reactor,
            self.path,
            lambda level, text: self.log.append((level, text)),
            self._on_ready,
            lambda: self.news.append(self.link.lacking),
        )
        self.listener: socket.socket | None = None
        self.server: socket.socket | None = None
        self.seen = b""

    def _on_ready(self) -> None:
        self.ready += 1

    def turn_until(self, condition: Callable[[], object], limit_s: float = 5.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, f"not in time; log: {self.log}"
            self.reactor.run_once(0.02)
            self._read()

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.reactor.run_once(0)
            self._read()

    def _read(self) -> None:
        if self.server is not None:
            with contextlib.suppress(BlockingIOError):
                self.seen += self.server.recv(1 << 20)

    def listen(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.setblocking(False)

    def has_called(self) -> bool:
        """Take the link's call, if one has come."""
        assert self.listener is not None
        try:
            server, _ = self.listener.accept()
        except BlockingIOError:
            return False
        if self.server is not None:
            self.server.close()
        self.server = server
        self.server.setblocking(False)
        self.seen = b""
        return True

    def say(self, data: bytes) -> None:
        assert self.server is not None
        self.server.sendall(data)

    def hang_up(self) -> None:
        assert self.server is not None
        self.server.close()
        self.server = None

    def go_away(self) -> None:
        """The auth process dies."""
        self.hang_up()
        assert self.listener is not None
        self.listener.close()
        os.unlink(self.path)

    def ask(self, response: bytes | None = b"AA==") -> tuple[Asker, int]:
        asker = Asker()
        return asker, self.link.ask(asker, b"PLAIN", PARAMETERS, response)

    def let_time_pass(self, seconds: float) -> None:
        self.reactor._timers = [(when - seconds, *rest) for when, *rest in self.reactor._timers]  # type: ignore[misc]
        for request_id in self.link._asked_at:
            self.link._asked_at[request_id] -= seconds

    def close(self) -> None:
        self.link.close()
        for sock in (self.server, self.listener):
            if sock is not None:
                sock.close()
        self.reactor.close()


@pytest.fixture
def fresh() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="mp-link-") as folder:
        stage = Stage(Path(folder))
        yield stage
        stage.close()


@pytest.fixture
def stage(fresh: Stage) -> Stage:
    """A link that has shaken hands."""
    fresh.listen()
    fresh.link.connect()
    fresh.turn_until(fresh.has_called)
    fresh.say(GREETING)
    fresh.turn_until(lambda: fresh.ready)
    return fresh


def test_what_the_link_says_first(stage: Stage) -> None:
    stage.turn_until(lambda: stage.seen)
    assert stage.seen == b"VERSION\t1\t0\nCPID\t%d\n" % os.getpid()


@pytest.mark.parametrize("cut", range(len(GREETING) + 1))
def test_a_greeting_in_two_pieces(fresh: Stage, cut: int) -> None:
    fresh.listen()
    fresh.link.connect()
    fresh.turn_until(fresh.has_called)
    fresh.say(GREETING[:cut])
    fresh.turn(2)
    assert fresh.ready == (cut == len(GREETING))
    fresh.say(GREETING[cut:])
    fresh.turn(2)
    assert fresh.ready == 1
    assert [mech.name for mech in fresh.link.mechanisms] == [b"PLAIN", b"APOP"]
    assert fresh.link.mechanisms[1].is_private
    assert (fresh.link.auth_pid, fresh.link.connect_id) == (b"77", b"5")


LACKING = {b"imap": frozenset((b"SORT", b"IDLE"))}


def test_what_backends_lack(fresh: Stage) -> None:
    """Known with the handshake, then told as it changes; the next auth begins anew. Others never say it."""
    fresh.listen()
    fresh.link.connect()
    fresh.turn_until(fresh.has_called)
    fresh.say(GREETING.replace(b"NEWS", b"LACKING\timap\tSORT\tIDLE"))
    fresh.turn_until(lambda: fresh.ready)
    assert (fresh.link.lacking, fresh.news) == (LACKING, [])
    fresh.say(b"LACKING\timap\tSORT\tIDLE\nLACKING\nLACKING\tpop3\tTOP\n")
    more = {**LACKING, b"pop3": frozenset((b"TOP",))}
    fresh.turn_until(lambda: fresh.news == [more])
    fresh.say(b"LACKING\timap\nOK\t1\n")
    fresh.turn_until(lambda: fresh.news[1:] == [{**more, b"imap": frozenset()}])
    fresh.hang_up()
    fresh.turn_until(fresh.has_called)
    fresh.say(GREETING)
    fresh.turn_until(lambda: fresh.news[2:] == [{}])


def test_a_batch_of_requests_is_one_write(stage: Stage) -> None:
    stage.turn_until(lambda: stage.seen)
    stage.seen = b""
    for _ in range(3):
        stage.ask()
    stage.ask(None)
    stage.turn(1)
    lines = stage.seen.splitlines()
    assert lines[0] == b"AUTH\t1\tPLAIN\tservice=imap\tlip=127.0.0.1\trip=10.0.0.5\tresp=AA=="
    assert lines[3] == b"AUTH\t4\tPLAIN\tservice=imap\tlip=127.0.0.1\trip=10.0.0.5"


def test_answers_find_their_askers(stage: Stage) -> None:
    (one, first), (two, second) = stage.ask(), stage.ask()
    stage.say(b"CONT\t%d\tY2g=\nFAIL\t%d\tuser=joe\ttemp\n" % (second, first))
    stage.turn_until(lambda: two.replies)
    assert one.replies == [Reply(Outcome.FAIL, first, {b"user": b"joe", b"temp": b""})]
    assert two.replies == [Reply(Outcome.CONTINUE, second, {}, b"Y2g=")]
    stage.link.answer(second, b"cmVz")
    stage.turn_until(lambda: stage.seen.endswith(b"CONT\t%d\tcmVz\n" % second))
    stage.say(b"OK\t%d\tuser=joe\n" % second)
    stage.turn_until(lambda: len(two.replies) == 2)
    assert two.replies[1].outcome is Outcome.OK
    assert (one.losses, two.losses) == (0, 0)


def test_an_answer_to_a_cancelled_request_is_dropped(stage: Stage) -> None:
    """A24: nor does it reach whoever asks next; ids are not used twice."""
    one, first = stage.ask()
    stage.link.cancel(first)
    stage.link.cancel(first)
    two, second = stage.ask()
    assert first != second
    stage.say(b"OK\t%d\tuser=one\nOK\t%d\tuser=two\nOK\t99\tuser=nobody\n" % (first, second))
    stage.turn_until(lambda: two.replies)
    stage.turn()
    assert one.replies == []
    assert two.replies == [Reply(Outcome.OK, second, {b"user": b"two"})]
    assert stage.seen.count(b"CANCEL\t%d\n" % first) == 1


def test_a_second_answer_is_dropped(stage: Stage) -> None:
    asker, number = stage.ask()
    stage.say(b"OK\t%d\tuser=joe\nOK\t%d\tuser=root\nFAIL\t%d\n" % (number, number, number))
    stage.turn_until(lambda: asker.replies)
    stage.turn()
    assert len(asker.replies) == 1


def test_a_lost_connection_tells_every_asker_once_and_reconnects(stage: Stage) -> None:
    """F03, F17: no answer of the new auth is taken for an old request."""
    (one, first), (two, _) = stage.ask(), stage.ask()
    stage.turn()
    stage.hang_up()
    stage.turn_until(lambda: one.losses and two.losses)
    three, third = stage.ask()
    stage.turn_until(stage.has_called)
    stage.say(GREETING + b"OK\t%d\tuser=old\n" % first)
    stage.turn_until(lambda: b"AUTH\t%d\t" % third in stage.seen)
    assert b"AUTH\t%d\t" % first not in stage.seen
    stage.say(b"OK\t%d\tuser=new\n" % third)
    stage.turn_until(lambda: three.replies)
    assert (one.losses, two.losses, three.losses) == (1, 1, 0)
    assert one.replies == two.replies == []
    assert stage.ready == 1
    assert stage.log == [
        (Level.WARNING, f"Auth server at {stage.path} is gone (connection closed), connecting again")
    ]


def test_a_request_half_sent_is_not_sent_to_the_next_auth(stage: Stage) -> None:
    """F03: what an old auth did not read must not be the beginning of the new one's input."""
    for _ in range(20_000):
        stage.ask(b"A" * 200)
    stage.reactor.run_once(0)
    assert stage.link._unsent
    stage.hang_up()
    stage.turn_until(stage.has_called)
    stage.say(GREETING)
    _, number = stage.ask()
    stage.turn_until(lambda: b"AUTH" in stage.seen)
    assert stage.seen.startswith(b"VERSION\t1\t0\nCPID\t%d\nAUTH\t%d\t" % (os.getpid(), number))


def test_too_many_requests_are_refused(stage: Stage) -> None:
    """X09."""
    asker = Asker()
    numbers = [stage.link.ask(asker, b"PLAIN", PARAMETERS, None) for _ in range(20_001)]
    assert numbers[-2:] == [20_000, 0]


def test_auth_that_stays_away(fresh: Stage) -> None:
    """F03: it is looked for with a growing delay, at a line a second; then all goes on."""
    fresh.link.connect()
    for _ in range(10):
        fresh.let_time_pass(1.0)
        fresh.turn(1)
    assert 3 <= len(fresh.log) <= 8
    assert set(fresh.log) == {
        (Level.ERROR, f"Can't connect to auth server at {fresh.path}: No such file or directory")
    }
    assert fresh.link._delay_s == auth_link._RECONNECT_MAX_S
    fresh.listen()
    fresh.let_time_pass(1.0)
    fresh.turn_until(fresh.has_called)
    fresh.say(GREETING)
    fresh.turn_until(lambda: fresh.ready)


def test_auth_that_hangs_up_at_once_is_not_called_in_a_hurry(fresh: Stage) -> None:
    fresh.listen()
    fresh.link.connect()
    calls = 0
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        fresh.reactor.run_once(0.01)
        if fresh.has_called():
            calls += 1
            fresh.hang_up()
    assert calls <= 6
    assert len(fresh.log) <= 6


def test_what_waits_for_an_absent_auth_is_given_up_and_forgotten(stage: Stage) -> None:
    """F03: an asker hears of it within seconds, and a long absence leaves nothing behind."""
    stage.go_away()
    stage.turn_until(lambda: stage.log)
    for _ in range(3):
        askers = [stage.ask()[0] for _ in range(50)]
        stage.let_time_pass(3.0)
        stage.turn()
        assert not any(asker.losses for asker in askers)
        stage.let_time_pass(3.0)
        stage.turn_until(lambda askers=askers: all(asker.losses for asker in askers))  # type: ignore[misc]
    assert [asker.losses for asker in askers] == [1] * 50
    assert stage.link._out == []
    assert stage.link._askers == {}
    assert stage.link._asked_at == {}


def test_auth_that_never_answers(stage: Stage) -> None:
    """F04: asked patience ends; the late answer is dropped."""
    asker, number = stage.ask()
    stage.let_time_pass(AUTH_WAIT_S - 5)
    stage.turn()
    assert asker.losses == 0
    stage.let_time_pass(10)
    stage.turn_until(lambda: asker.losses)
    stage.turn_until(lambda: b"CANCEL\t%d\n" % number in stage.seen)
    stage.say(b"OK\t%d\tuser=joe\n" % number)
    stage.turn()
    assert asker.replies == []


@pytest.mark.parametrize(
    "words",
    [b"OK\tx\n", b"OK\n", b"FAIL\t0\n", b"VERSION\t2\t0\n", b"x" * (AUTH_LINE_BYTES + 1)],
    ids=["id", "no-id", "zero", "version", "endless"],
)
def test_an_auth_that_breaks_the_protocol(fresh: Stage, words: bytes) -> None:
    """Its connection ends; the worker lives."""
    fresh.listen()
    fresh.link.connect()
    fresh.turn_until(fresh.has_called)
    if not words.startswith(b"VERSION"):
        fresh.say(GREETING)
    asker, _ = fresh.ask()
    fresh.say(words)
    fresh.turn_until(lambda: asker.losses)
    assert any("BUG: auth server at" in text for _, text in fresh.log)
    fresh.turn_until(fresh.has_called)


def test_a_closed_link_stays_closed(stage: Stage) -> None:
    """A relay in the mode of one process per connection needs no auth, not even one that comes back."""
    stage.hang_up()
    stage.turn_until(lambda: stage.log)
    stage.link.close()
    stage.let_time_pass(5)
    stage.turn()
    assert not stage.has_called()
