"""The ports of this machine towards a backend are used up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.arena import Arena
from tests.harness.network import own_network
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import ScriptedBackend, imap_echo
from tests.harness.wait import wait_until
from tests.process.conftest import MODES, NewArena
from tests.process.look import echoes

PORTS = 8
ONE_TRY = "login_proxy_max_reconnects = 0"


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """Nobody else's."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(own_network())
        except PermissionError as error:
            pytest.skip(f"no network of our own: {error}")
        yield


class Clients:
    """They are connected from the beginning; from then on few ports are left for the proxy."""

    def __init__(self, arena: Arena, count: int) -> None:
        self._password = arena.GUEST
        self._waiting = [arena.client() for _ in range(count)]
        self.sessions: list[RawClient] = []
        # Beyond those that clients and servers have got.
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"61000 {61000 + PORTS - 1}")

    def log_in(self, user: bytes = b"guest") -> bytes:
        """Return the reply to the next client; who is in stays."""
        client = self._waiting.pop()
        reply = client.ask(b"a1 LOGIN %s %s\r\n" % (user, self._password))
        (self.sessions if reply.startswith(b"a1 OK ") else self._waiting).insert(0, client)
        return reply

    def fill(self, count: int, user: bytes = b"guest") -> None:
        """Log in so often, which has to work."""
        replies = [self.log_in(user) for _ in range(count)]
        assert all(reply.startswith(b"a1 OK ") for reply in replies), replies

    def close(self) -> None:
        """All who are in still are."""
        assert all(echoes(session) for session in self.sessions)
        for client in (*self.sessions, *self._waiting):
            client.close()


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_no_port_is_left(new_whole_arena: NewArena, mode: str) -> None:
    """X08: that login fails for now, sessions go on, and the next one works when a port is free again."""
    arena = new_whole_arena(mode, ONE_TRY)
    clients = Clients(arena, PORTS + 2)
    clients.fill(PORTS)
    assert clients.log_in().startswith(b"a1 NO [UNAVAILABLE] ")
    arena.proxy.wait_log("failed: Cannot assign requested address")
    assert all(echoes(session) for session in clients.sessions)
    clients.sessions.pop().close()
    wait_until("a port is free again", lambda: clients.log_in().startswith(b"a1 OK "))
    clients.close()


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_several_addresses(new_whole_arena: NewArena, mode: str) -> None:
    """X08: more sessions than the ports of one; a login whose address has none left tries the next."""
    sources = {"127.0.0.2", "127.0.0.3", "127.0.0.4"}
    arena = new_whole_arena(mode, f"login_source_ips = {' '.join(sources)}")
    clients = Clients(arena, 2 * PORTS)
    clients.fill(2 * PORTS)
    assert {peer.address for peer in arena.house_imap.peers} == sources
    clients.close()


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
@pytest.mark.parametrize("source", ["127.0.0.2", "::1"])
def test_the_ports_of_an_address_serve_each_backend(new_arena: NewArena, mode: str, source: str) -> None:
    """X08: sessions to one backend take no port from another."""
    arena = new_arena(mode, ONE_TRY, f"login_source_ips = {source}")
    host = "::1" if ":" in source else "127.0.0.1"
    with ScriptedBackend(imap_echo, host) as one, ScriptedBackend(imap_echo, host) as other:
        for user, backend in (("one", one), ("other", other)):
            arena.add(user, arena.GUEST.decode(), backend.port, host=host)
        clients = Clients(arena, 2 * PORTS + 1)
        clients.fill(PORTS, b"one")
        clients.fill(PORTS, b"other")
        assert {peer.address for peer in (*one.peers, *other.peers)} == {source}
        assert clients.log_in(b"one").startswith(b"a1 NO [UNAVAILABLE] ")
        clients.close()
