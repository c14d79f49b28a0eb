"""Real TCP connections on both sides of a relay, and what their far ends do."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

from mailproxy.net.pipes import PipePool
from mailproxy.net.reactor import READ, Reactor
from mailproxy.net.relay import Relay

MIB = 1 << 20


class CountingReactor(Reactor):
    """Counts batches, so that spinning is seen."""

    batches = 0

    def run_once(self, limit_s: float | None = None) -> None:
        self.batches += 1
        super().run_once(limit_s)


class Line:
    """A relay in a thread, with the far ends of its client and its backend."""

    def __init__(
        self,
        to_backend: bytes = b"",
        to_client: bytes = b"",
        before: Callable[[Line], None] = lambda line: None,
        pipes: PipePool | None = None,
    ) -> None:
        self.reactor = CountingReactor()
        self.pipes = pipes or PipePool()
        self.client, ours_c = tcp_pair()
        self.backend, ours_b = tcp_pair()
        self.ended: list[Relay] = []
        for sock in (ours_c, ours_b):
            sock.setblocking(False)
            self.reactor.add(sock.fileno(), READ, lambda _events: None)
        self.relay = Relay(self.reactor, self.pipes, ours_c, ours_b, self._on_end)
        before(self)
        self._over = False
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._serve, args=(to_backend, to_client))
        self.thread.start()

    def _serve(self, to_backend: bytes, to_client: bytes) -> None:
        try:
            self.relay.start(to_backend, to_client)
            while not self._over:
                self.reactor.run_once(0.05)
        except BaseException as error:
            self.failure = error

    def _on_end(self, relay: Relay) -> None:
        self.ended.append(relay)

    def stop_thread(self) -> None:
        self._over = True
        self.thread.join(10)
        if self.failure is not None:
            raise self.failure

    def batches_in(self, for_s: float) -> int:
        before = self.reactor.batches
        time.sleep(for_s)  # what must not happen has no event to wait for
        return self.reactor.batches - before

    def close(self) -> None:
        self.stop_thread()
        if not self.ended:
            self.relay.close()
        for sock in (self.client, self.backend):
            sock.close()
        self.reactor.close()
        for pipe in self.pipes._idle:
            pipe.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(20)
    return near, far


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, f"the end after {len(data)} of {count} bytes"
        data += piece
    return bytes(data)


def send_in_chunks(sock: socket.socket, data: bytes, seed: int) -> None:
    dice = random.Random(seed)
    at = 0
    while at < len(data):
        size = int(2 ** dice.uniform(0, 20))
        sock.sendall(data[at : at + size])
        at += size
    sock.shutdown(socket.SHUT_WR)


def push(sock: socket.socket, limit_bytes: int = 64 * MIB) -> int:
    """Send until nothing more is taken for a while; returns how much was."""
    sock.settimeout(0.3)
    block, sent = bytes(65536), 0
    try:
        while sent < limit_bytes:
            sent += sock.send(block)
    except TimeoutError:
        pass
    sock.settimeout(20)
    return sent


def resident_kib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 10
