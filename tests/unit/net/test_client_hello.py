from __future__ import annotations

import secrets
import select
import socket
import ssl
from collections.abc import Iterator, Sequence

import pytest

from mailproxy.net.client_hello import NO_APPLICATION_PROTOCOL, FirstLook, asks_for_others


def hello(alpn: Sequence[str] = (), name: str = "mail.example.org") -> bytes:
    """Return what a real client begins with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("alpn", "others"),
    [
        ([], False),
        (["imap"], False),
        (["pop3", "imap"], False),
        (["http/1.1"], True),
        (["h2", "http/1.1"], True),
        (["pop3"], True),
        (["imap4"], True),
    ],
)
def test_what_clients_ask_for(alpn: list[str], others: bool) -> None:
    """T10: absent is fine, another protocol is not."""
    assert asks_for_others(hello(alpn), b"imap") is others


def test_the_first_record_is_waited_for() -> None:
    """T04: every part of it but the whole."""
    data = hello(["http/1.1"])
    assert {asks_for_others(data[:length], b"imap") for length in range(len(data))} == {None}
    assert asks_for_others(data + b"more", b"imap") is True


def test_one_that_names_nothing_is_waited_for_too() -> None:
    """T04: the part that is missing may be the one with the names."""
    data = hello(name="mx.example.org")
    assert {asks_for_others(data[:length], b"imap") for length in range(len(data))} == {None}


def test_the_number_of_the_extension_may_stand_elsewhere() -> None:
    """A name of sixteen letters has it as its length."""
    data = hello(name="mail.example.org")
    assert b"\x00\x10mail" in data
    assert asks_for_others(data, b"imap") is False


@pytest.mark.parametrize(
    "data", [b"a1 LOGIN john secret\r\n", b"\x80", b"\x17\x03\x03\x00\x01x", b"\x16\x03\x01\xff\xffx"]
)
def test_what_is_no_tls_is_left_to_the_library(data: bytes) -> None:
    """T05: also a record that is larger than any may be."""
    assert asks_for_others(data, b"imap") is False


def test_broken_ones_do_no_harm() -> None:
    """T05: bytes changed anywhere behind the header of the record."""
    good = hello(["http/1.1"])
    for at in range(5, len(good)):
        for change in (b"\x00", b"\xff", secrets.token_bytes(1)):
            found = asks_for_others(good[:at] + change + good[at + 1 :], b"imap")
            assert found in (True, False)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_lengths_that_lie_do_no_harm(cut: int) -> None:
    """T05: a record that ends before its ClientHello does."""
    good = hello()
    short = good[5:-cut]
    record = good[:3] + len(short).to_bytes(2, "big") + short
    assert asks_for_others(record, b"imap") in (True, False)


def test_the_alert_is_one_that_clients_understand() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="mail.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(NO_APPLICATION_PROTOCOL)
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        client.do_handshake()


class Line:
    """A connection of which both ends are ours."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.server, _ = listener.accept()
        self.server.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self.server, select.POLLIN)

    def is_readable(self, wait_s: float = 0.0) -> bool:
        return bool(self._poll.poll(wait_s * 1000))

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def line() -> Iterator[Line]:
    found = Line()
    yield found
    found.close()


@pytest.mark.parametrize(("alpn", "refused"), [(["imap"], False), (["http/1.1"], True), ([], False)])
def test_a_look_leaves_the_record_in_its_place(line: Line, alpn: list[str], refused: bool) -> None:
    """T10: the library reads it again."""
    look = FirstLook(line.server, b"imap")
    assert look.is_refused() is None
    data = hello(alpn)
    line.client.sendall(data)
    assert line.is_readable(5)
    assert look.is_refused() is refused
    assert line.server.recv(65536) == data


def test_a_slow_client_wakes_nobody_up(line: Line) -> None:
    """T04: the part that is there is not told again; the whole is."""
    look, data = FirstLook(line.server, b"imap"), hello(["http/1.1"])
    line.client.sendall(data[:1])
    assert line.is_readable(5)
    assert look.is_refused() is None
    assert not line.is_readable()
    line.client.sendall(data[1:20])
    assert line.is_readable(5)
    assert look.is_refused() is None
    assert not line.is_readable()
    line.client.sendall(data[20:])
    assert line.is_readable(5)
    assert look.is_refused() is True
    assert line.server.recv(65536) == data
    line.client.sendall(b"x")
    assert line.is_readable(5)


@pytest.mark.parametrize("length", [0, 3, 100])
def test_a_client_that_ends_in_between_is_left_to_the_library(line: Line, length: int) -> None:
    """T05: no loop at the end of the connection."""
    look = FirstLook(line.server, b"imap")
    line.client.sendall(hello()[:length])
    line.client.shutdown(socket.SHUT_WR)
    assert line.is_readable(5)
    for _ in range(3):
        if look.is_refused() is not None:
            return
    pytest.fail("waits for ever")
