"""The master to come, as long as it is not in office and after that."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence

import pytest

from mailproxy.ipc.handover import RELAY_VERSION, Facts, render_word
from mailproxy.net.reactor import Reactor
from mailproxy.process import successor
from mailproxy.process.successor import Successor

READY = render_word("ready", relay_version=RELAY_VERSION, auth_paths=[], protocols=[])


class Attempt:
    """A master that begins to be replaced by this process, and what it is told of that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[object] = []
        self.reactor = Reactor()
        monkeypatch.setattr(successor, "_start", self._start)
        monkeypatch.setattr(signal, "pidfd_send_signal", lambda _fd, _number: self.heard.append("killed"))
        found = Successor(
            self.reactor,
            lambda _level, _text: None,
            lambda _outlets, _paths: self.heard.append("ready"),
            self.heard.append,
            self._on_word,
        )
        found.begin("/base", [], 0, [])

    def _start(self, sock: socket.socket) -> int:
        self.new_master = sock.dup()
        return os.getpid()

    def _on_word(self, word: str, _facts: Facts, _fds: Sequence[int]) -> None:
        self.heard.append(word)

    def say(self, packet: bytes) -> None:
        self.new_master.send(packet)
        self.reactor.run_once(5)


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Attempt]:
    found = Attempt(monkeypatch)
    yield found
    found.new_master.close()
    found.reactor.run_once(0)
    found.reactor.close()


@pytest.mark.parametrize("packet", [b"nonsense", b'{"version": 99, "word": "ready"}'])
def test_one_that_is_not_understood_does_not_take_over(attempt: Attempt, packet: bytes) -> None:
    attempt.say(packet)
    assert attempt.heard[0] == "killed"
    assert "speaks another language" in str(attempt.heard[1])


def test_one_in_office_is_not_judged_any_more(attempt: Attempt) -> None:
    """F12: the old master closes nothing that is not its own, and looks after its sessions."""
    attempt.say(READY)
    descriptors = sorted(os.listdir("/proc/self/fd"))
    for packet in (b"nonsense", b'{"version": 99}', render_word("reopen")):
        attempt.say(packet)
    assert sorted(os.listdir("/proc/self/fd")) == descriptors
    assert attempt.heard == ["ready", "reopen"]
