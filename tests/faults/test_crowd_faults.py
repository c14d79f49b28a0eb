"""Row B21: many sessions of one worker end at once. With a process for each there is no crowd in any."""

from __future__ import annotations

import contextlib
import threading
import time

from tests.harness.arena import Arena
from tests.harness.backend_attempts import BANNER
from tests.harness.oracles import Oracles
from tests.harness.scripted_backend import PATIENCE_S, Peer
from tests.harness.wait import wait_until

CROWD = 500


def test_a_crowd_is_dropped_at_once(arena: Arena, oracles: Oracles) -> None:
    """B21: 500 sessions of one backend end within 5 s, for less than 2 s of CPU, each with a line."""
    drop = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(BANNER["imap"])
        tag, _, _ = peer.imap_login()
        peer.send(tag + b" OK in\r\n")
        drop.wait(PATIENCE_S)
        peer.reset()

    arena.imap.play(script)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(arena.login("imap", b"john", arena.JOHN)) for _ in range(CROWD)]
        (worker,) = arena.proxy.children("imap-login")
        before_s = sum(worker.cpu_times()[:2])
        start = time.monotonic()
        drop.set()
        for client in clients:
            assert client.rest() == b""
        assert time.monotonic() - start < 5
        assert sum(worker.cpu_times()[:2]) - before_s < 2
        wait_until(
            "each end is logged",
            lambda: oracles.log_since_begin().count(b"(Disconnected by server, ") == CROWD,
        )
