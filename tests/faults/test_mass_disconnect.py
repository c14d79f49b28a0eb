"""One backend that drops everybody at once."""

from __future__ import annotations

import threading

import pytest

from tests.harness.arena import Arena
from tests.harness.oracles import Oracles
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import Peer

SESSIONS = 500


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_all_sessions_of_a_backend_end(arena: Arena, oracles: Oracles, how: str) -> None:
    """B21: 500 clients hear the end and leave; within five seconds nothing is left, nobody else notices."""
    now = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(b"* OK backend\r\n")
        tag, _, _ = peer.imap_login()
        peer.send(tag + b" OK in\r\n")
        now.wait(60)
        if how == "rst":
            peer.reset()

    arena.imap.play(script)
    ended = "proxy(john): disconnecting 127.0.0.1"
    before = arena.proxy.log_text().count(ended)
    clients: list[RawClient] = []
    try:
        clients += [arena.login("imap", b"john", arena.JOHN) for _ in range(SESSIONS)]
        assert len(arena.imap.peers) == SESSIONS
        now.set()
        for client in clients:
            assert client.rest() == b""
    finally:
        now.set()
        for client in clients:
            client.close()
    arena.proxy.wait_log(ended, before + SESSIONS, timeout_s=5)
