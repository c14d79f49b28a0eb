"""TLS on a non-blocking socket: never blocks, and its goodbye costs no byte of the other way."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import SocketType
from typing import NamedTuple

import pytest

from mailproxy.net.tls import Socket, TlsSocket
from tests.harness.packets import packets
from tests.harness.tls import Authority
from tests.harness.wait import wait_until


class Pair(NamedTuple):
    """Our end, and the peer's."""

    ours: TlsSocket
    peer: ssl.SSLSocket


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    names = Authority(tmp_path).issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(names.cert, names.key)
    peers = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    peers.check_hostname, peers.verify_mode = False, ssl.CERT_NONE
    peers.maximum_version = request.param
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours = TlsSocket(
        SocketType(accepted.family, int(accepted.type), 0, accepted.detach()), context, is_server=True
    )
    found: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: found.append(peers.wrap_socket(plain, suppress_ragged_eofs=False))
    )
    thread.start()
    wait_until("the handshake is done", ours.handshake)
    thread.join()
    yield Pair(ours, found[0])
    found[0].close()
    ours.close()


def received(stream: TlsSocket) -> bytes | None:
    try:
        return stream.recv(16384)
    except BlockingIOError:
        return None


@pytest.fixture
def connected() -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    with peer:
        yield peer, accepted.detach()


@pytest.mark.parametrize(("kind", "stays"), [(Socket, True), (SocketType, False)])
def test_a_socket_is_used_or_emptied(
    connected: tuple[socket.socket, int], kind: type[SocketType], stays: bool
) -> None:
    """What was not made for TLS can say nothing in the clear any more. Neither waits for the peer."""
    fd = connected[1]
    plain = kind(socket.AF_INET, socket.SOCK_STREAM, 0, fd)
    ours = TlsSocket(plain, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), is_server=True)
    assert ours.fileno() == fd
    assert plain.fileno() == (fd if stays else -1)
    assert not os.get_blocking(fd)
    ours.close()
    assert plain.fileno() == -1


def test_the_descriptor_does_not_block(pair: Pair) -> None:
    """T04: half a record holds up nobody."""
    assert not os.get_blocking(pair.ours.fileno())
    with pytest.raises(BlockingIOError):
        pair.ours.recv(1)


def test_a_fin_loses_nothing_that_is_on_its_way(pair: Pair) -> None:
    """R04: what the peer has sent before our half ends can still be read."""
    pair.peer.sendall(b"* the answer that the client waits for\r\n")
    pair.ours.shutdown(socket.SHUT_WR)
    assert (
        wait_until("it is there", lambda: received(pair.ours))
        == b"* the answer that the client waits for\r\n"
    )


def test_last_words_goodbye_and_the_end_leave_together(pair: Pair) -> None:
    """What more is to follow is held for it."""
    before = packets(pair.peer).with_data
    pair.ours.send(b"* BYE\r\n", socket.MSG_MORE)
    pair.ours.say_goodbye()
    pair.ours.shutdown(socket.SHUT_WR)
    assert pair.peer.recv(100) == b"* BYE\r\n"
    assert pair.peer.recv(100) == b""
    assert packets(pair.peer).with_data == before + 1


def test_goodbye_does_not_hurt_what_waits(pair: Pair) -> None:
    """R05: nor is it lost by a goodbye, which the library says by a call that also reads."""
    pair.peer.sendall(b"a APPEND ...\r\n")
    wait_until("it is there", lambda: pair.ours._sock.recv(1, socket.MSG_PEEK))
    pair.ours.say_goodbye()
    pair.ours.shutdown(socket.SHUT_WR)
    assert received(pair.ours) == b"a APPEND ...\r\n"


def test_goodbye_is_heard(pair: Pair) -> None:
    """T13: a silent peer hears a close_notify and not only a FIN."""
    pair.ours.say_goodbye()
    pair.ours.shutdown(socket.SHUT_WR)
    pair.peer.settimeout(5)
    assert pair.peer.recv(1) == b""


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_nothing_in_the_clear_is_read_behind_the_end(pair: Pair, says_goodbye: bool) -> None:
    """T14: bytes that anybody on the path may add behind the peer's close_notify are nobody's words."""
    pair.peer.setblocking(False)
    with contextlib.suppress(OSError):
        pair.peer.unwrap()
    SocketType.send(pair.peer, b"a9 DELETE INBOX\r\n")
    wait_until("it is there", lambda: len(pair.ours._sock.recv(99, socket.MSG_PEEK)) > 20)
    if says_goodbye:
        pair.ours.say_goodbye()
    pair.ours.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        assert received(pair.ours) in (b"", None)
    with contextlib.suppress(OSError):
        assert received(pair.ours) in (b"", None)
