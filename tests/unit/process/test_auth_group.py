"""A worker's links to several processes of one section, against scripted ones on Unix sockets."""

from __future__ import annotations

import contextlib
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailproxy.auth.shares import Shares
from mailproxy.base.level import Level
from mailproxy.net.reactor import Reactor
from mailproxy.process import auth_group
from mailproxy.process.auth_group import AuthGroup

HANDSHAKE = b"VERSION\t1\t0\nMECH\tPLAIN\tplaintext\nSPID\t%d\nCUID\t5\nDONE\n"


class Stage:
    """The group, and the processes, which a test plays: those in `silent` accept nobody."""

    def __init__(self, folder: Path, count: int, silent: tuple[int, ...] = ()) -> None:
        self.reactor = Reactor()
        self.ready = 0
        self.silent = set(silent)
        self.listeners = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        self.calls: list[list[socket.socket]] = [[] for _ in range(count)]
        names = tuple(str(folder / str(number)) for number in range(count))
        for listener, name in zip(self.listeners, names, strict=True):
            listener.bind(name)
            listener.listen()
            listener.setblocking(False)
        self.news: list[frozenset[bytes]] = []
        self.group = AuthGroup(
            self.reactor,
            Shares(names),
            self._log,
            self._on_ready,
            lambda: self.news.append(self.group.lacking(b"imap")),
        )

    def _log(self, level: Level, text: str) -> None:
        pass

    def _on_ready(self) -> None:
        self.ready += 1

    def turn(self) -> None:
        self.reactor.run_once(0.01)
        for number, listener in enumerate(self.listeners):
            if number not in self.silent:
                with contextlib.suppress(BlockingIOError):
                    call, _ = listener.accept()
                    call.sendall(HANDSHAKE % (100 + number))
                    self.calls[number].append(call)

    def turn_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end, "not in time"
            self.turn()

    def called(self) -> list[int]:
        return [number for number, calls in enumerate(self.calls) if calls]

    def number_of(self, user: bytes) -> int:
        link = self.group.link_for(b"PLAIN", b64encode(b"\0%s\0x" % user))
        return self.group._links.index(link)

    def close(self) -> None:
        self.group.close()
        self.reactor.close()
        for sock in (*self.listeners, *(call for calls in self.calls for call in calls)):
            sock.close()


@pytest.fixture
def new_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    with contextlib.ExitStack() as stack:

        def make(count: int, silent: tuple[int, ...] = ()) -> Stage:
            stage = Stage(tmp_path, count, silent)
            stack.callback(stage.close)
            return stage

        yield make


def test_one_process_is_one_link(new_stage: Callable[..., Stage]) -> None:
    group = new_stage(1).group
    assert group.only is group.first
    assert group.link_for(b"CRAM-MD5", None) is group.only


def test_a_process_is_called_when_its_user_comes(new_stage: Callable[..., Stage]) -> None:
    """A worker of one connection does not shake hands with all of them."""
    stage = new_stage(4)
    stage.group.connect()
    stage.turn_until(lambda: stage.ready == 1)
    assert [m.name for m in stage.group.mechanisms] == [b"PLAIN"]
    (begun,) = stage.called()
    user = next(b"u%d" % i for i in range(100) if stage.number_of(b"u%d" % i) == (begun + 1) % 4)
    stage.turn_until(lambda: (begun + 1) % 4 in stage.called())
    assert stage.number_of(user) == (begun + 1) % 4
    assert stage.ready == 1


def test_users_stay_where_they_belong_while_their_process_is_away(new_stage: Callable[..., Stage]) -> None:
    """Else a restart would leave a row in two caches, and a stale one might be believed later."""
    stage = new_stage(3)
    users = [b"u%d" % i for i in range(60)]
    before = [stage.number_of(user) for user in users]
    stage.turn_until(lambda: len(stage.called()) == 3)
    for call in stage.calls[1]:
        call.close()
    stage.calls[1].clear()
    stage.silent.add(1)
    stage.turn_until(lambda: not stage.group._links[1].is_ready)
    assert [stage.number_of(user) for user in users] == before


def test_who_has_no_name_yet_gets_a_process_that_answers(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(3, silent=(0, 2))
    stage.group._turn = 1
    stage.group.connect()
    stage.turn_until(lambda: stage.ready == 1)
    chosen = [stage.group._links.index(stage.group.link_for(b"CRAM-MD5", None)) for _ in range(6)]
    assert chosen == [1] * 6
    stage.silent.clear()
    stage.turn_until(lambda: all(link.is_ready for link in stage.group._links))
    spread = [stage.group._links.index(stage.group.link_for(b"CRAM-MD5", None)) for _ in range(6)]
    assert set(spread) == {0, 1, 2}


def test_a_first_process_that_is_dead_holds_nobody_up(
    new_stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is the master's, so a call succeeds and nobody answers."""
    monkeypatch.setattr(auth_group, "_OTHERS_S", 0.02)
    stage = new_stage(3, silent=(1,))
    stage.group._turn = 1
    stage.group.connect()
    stage.turn_until(lambda: stage.ready == 1)
    assert 1 not in stage.called()


def test_each_process_knows_backends_of_its_own(new_stage: Callable[..., Stage]) -> None:
    """What any of them has found out to be lacking is lacking."""
    stage = new_stage(2)
    stage.group.connect()
    stage.turn_until(lambda: stage.ready == 1)
    assert stage.news == []
    for number in range(100):
        stage.number_of(b"u%d" % number)
    stage.turn_until(lambda: stage.called() == [0, 1] and len(stage.news) == 1)
    stage.calls[0][0].sendall(b"LACKING\timap\tIDLE\n")
    stage.turn_until(lambda: stage.news[1:] == [{b"IDLE"}])
    stage.calls[1][0].sendall(b"LACKING\tpop3\tTOP\nLACKING\timap\tSORT\n")
    stage.turn_until(lambda: stage.news[-1] == {b"IDLE", b"SORT"})
