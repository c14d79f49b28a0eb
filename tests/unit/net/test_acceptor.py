"""Accepting from listeners that several workers share."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from socket import SocketType

import pytest

from mailproxy.base.level import Level
from mailproxy.net.acceptor import Acceptor
from mailproxy.net.listen import listen_tcp
from mailproxy.net.reactor import Reactor
from mailproxy.net.tls import Socket
from tests.harness.wait import wait_until


class Worker:
    """A reactor with an acceptor on one shared listener."""

    def __init__(self, *listeners: socket.socket) -> None:
        self.reactor = Reactor()
        self.clients: list[SocketType] = []
        self.log: list[tuple[Level, str]] = []
        self.acceptor = Acceptor(
            self.reactor,
            listeners,
            lambda client, _address, _listener: self.clients.append(client),
            lambda level, text: self.log.append((level, text)),
        )

    def turn(self, limit_s: float = 0.0) -> None:
        self.reactor.run_once(limit_s)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.reactor.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen_tcp("127.0.0.1", 0) as listener:
        yield listener


@pytest.fixture
def worker(listener: socket.socket) -> Iterator[Worker]:
    worker = Worker(listener)
    yield worker
    worker.close()


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), 5)


def test_one_client_a_batch(listener: socket.socket, worker: Worker) -> None:
    worker.acceptor.listen()
    worker.acceptor.listen()
    peers = [connect(listener) for _ in range(20)]
    for count in range(1, 21):
        worker.turn(1)
        assert len(worker.clients) == count
    peers[5].send(b"x")
    assert sorted(client.getpeername() for client in worker.clients) == sorted(
        peer.getsockname() for peer in peers
    )
    for peer in peers:
        peer.close()


def test_options_of_an_accepted_client(listener: socket.socket, worker: Worker) -> None:
    """R06, R11: no delay for small answers, and a client that lost its network is found out."""
    worker.acceptor.listen()
    with connect(listener):
        worker.turn(1)
        client = worker.clients[0]
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert not os.get_inheritable(client.fileno())


@pytest.mark.parametrize("has_tls", [True, False])
def test_who_comes_for_tls_gets_a_socket_that_can_carry_it(listener: socket.socket, has_tls: bool) -> None:
    """One who begins in the clear does not: his is emptied when TLS begins."""
    reactor = Reactor()
    clients: list[SocketType] = []
    accept = Acceptor(
        *(reactor, [listener], lambda client, _address, _listener: clients.append(client)),
        *(lambda _level, _text: None, [listener] if has_tls else []),
    )
    accept.listen()
    with connect(listener):
        reactor.run_once(1)
    assert [type(client) for client in clients] == [Socket if has_tls else SocketType]
    clients[0].close()
    reactor.close()


def test_stop_leaves_clients_to_others(listener: socket.socket, worker: Worker) -> None:
    worker.acceptor.listen()
    worker.acceptor.stop()
    worker.acceptor.stop()
    with connect(listener):
        worker.turn()
        assert worker.clients == []
        other = Worker(listener)
        other.acceptor.listen()
        other.turn(1)
        assert len(other.clients) == 1
        other.close()


def test_clients_spread_over_idle_workers(listener: socket.socket) -> None:
    """X15: whoever took eight goes to the end of the queue."""
    workers = [Worker(listener) for _ in range(4)]
    is_over = threading.Event()

    def serve(worker: Worker) -> None:
        while not is_over.is_set():
            worker.turn(0.05)

    threads = [threading.Thread(target=serve, args=(worker,)) for worker in workers]
    for worker, thread in zip(workers, threads, strict=True):
        worker.acceptor.listen()
        thread.start()
    peers = []
    for count in range(1, 161):
        peers.append(connect(listener))
        wait_until("it is accepted", lambda count=count: sum(len(w.clients) for w in workers) == count)  # type: ignore[misc]
    is_over.set()
    shares = [len(worker.clients) for worker in workers]
    for worker, thread in zip(workers, threads, strict=True):
        thread.join()
        worker.close()
    for peer in peers:
        peer.close()
    assert max(shares) <= 2 * 160 // 4, shares


def test_a_reset_before_accept_is_ignored(listener: socket.socket, worker: Worker) -> None:
    """X14."""
    worker.acceptor.listen()
    for _ in range(50):
        peer = connect(listener)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
    with connect(listener) as alive:
        for _ in range(60):
            worker.turn()
        alive.send(b"here")
        assert worker.clients[-1].recv(4) == b"here"
    assert worker.log == []


class _Exhausted:
    """No descriptor is free while this is entered."""

    def __enter__(self) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        probe = os.dup(0)
        os.close(probe)
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe, self.limits[1]))

    def __exit__(self, *_exception: object) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)


def test_out_of_descriptors_pauses_and_resumes(listener: socket.socket, worker: Worker) -> None:
    """X04: one line, no spinning, and it goes on by itself."""
    worker.acceptor.listen()
    with connect(listener):
        with _Exhausted():
            worker.turn(1)
            end = time.monotonic() + 0.3
            batches = 0
            while time.monotonic() < end:
                worker.turn(end - time.monotonic())
                batches += 1
        assert batches <= 2
        assert worker.clients == []
        assert worker.log == [
            (Level.ERROR, "accept() failed: Too many open files; pausing until descriptors are free")
        ]
        end = time.monotonic() + 2
        while not worker.clients and time.monotonic() < end:
            worker.turn(0.1)
        assert len(worker.clients) == 1


def test_a_stop_during_a_pause_is_kept(listener: socket.socket, worker: Worker) -> None:
    """X04: a worker that was retired meanwhile takes nobody, even when its listener is closed."""
    worker.acceptor.listen()
    with connect(listener):
        with _Exhausted():
            worker.turn(1)
        worker.acceptor.stop()
        copy = listener.dup()
        listener.close()
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            worker.turn(0.1)
        assert worker.clients == []
        copy.close()


def test_a_wish_to_listen_during_a_pause_waits_for_its_end(listener: socket.socket, worker: Worker) -> None:
    worker.acceptor.listen()
    with connect(listener):
        with _Exhausted():
            worker.turn(1)
            worker.acceptor.stop()
            worker.acceptor.listen()
            worker.turn(0.05)
            assert len(worker.log) == 1
        end = time.monotonic() + 2
        while not worker.clients and time.monotonic() < end:
            worker.turn(0.1)
        assert len(worker.clients) == 1


@pytest.mark.parametrize(("host", "probe"), [("*", "127.0.0.1"), ("::", "127.0.0.1"), ("127.0.0.1",) * 2])
def test_where_it_listens(host: str, probe: str) -> None:
    with listen_tcp(host, 0) as listener, socket.create_connection((probe, listener.getsockname()[1]), 5):
        pass


def test_a_port_in_use_is_an_error_and_leaks_nothing(listener: socket.socket) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="in use"):
        listen_tcp("127.0.0.1", listener.getsockname()[1])
    assert len(os.listdir("/proc/self/fd")) == before
