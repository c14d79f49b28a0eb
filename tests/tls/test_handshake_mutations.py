"""500 handshakes with one thing wrong in one flight of the client."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl

import pytest

from tests.harness.proxy import HOST
from tests.harness.wait import wait_until
from tests.tls.tls_proxy import NAME, TlsProxy

COUNT = 500
SEED = 20070413
PATIENCE_S = 10


def flip(data: bytes, chance: random.Random) -> bytes:
    """Change some bits."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def cut(data: bytes, chance: random.Random) -> bytes:
    """End too early."""
    return data[: chance.randrange(len(data))]


def grow(data: bytes, chance: random.Random) -> bytes:
    """Put bytes in between."""
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.randint(1, 300)) + data[at:]


def lengthen(data: bytes, chance: random.Random) -> bytes:
    """Say that the first record has another length, also one that no record may have."""
    return (
        data[:3] + chance.choice((0, 1, 16385, 0xFFFF, chance.randrange(65536))).to_bytes(2, "big") + data[5:]
    )


def repeat(data: bytes, chance: random.Random) -> bytes:
    """Say it twice."""
    return data * 2


def replace(data: bytes, chance: random.Random) -> bytes:
    """Say something else: an alert, data, heartbeats, an unknown kind, or mail."""
    kind = chance.choice((b"\x15", b"\x17", b"\x18", b"\x14", chance.randbytes(1)))
    body = chance.randbytes(chance.choice((0, 1, 2, 40, 16384)))
    return chance.choice((kind + b"\x03\x03" + len(body).to_bytes(2, "big") + body, b"a1 LOGIN victim s\r\n"))


MUTATIONS = (flip, cut, grow, lengthen, repeat, replace)


def shake_hands(port: int, version: ssl.TLSVersion, wrong_flight: int, chance: random.Random) -> bool:
    """Play a client whose flight of that number is mutated; tells whether it ever got that far."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    flight, was_wrong = 0, False
    with socket.create_connection((HOST, port), PATIENCE_S) as sock, contextlib.suppress(ConnectionError):
        while True:
            with contextlib.suppress(ssl.SSLError):
                tls.do_handshake()
            if data := outgoing.read():
                if flight == wrong_flight:
                    data, was_wrong = chance.choice(MUTATIONS)(data, chance), True
                flight += 1
                sock.sendall(data)
                if was_wrong:
                    break
            if flight > wrong_flight or not (data := sock.recv(65536)):
                break
            incoming.write(data)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    return was_wrong


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_mutated_handshakes(proxy: TlsProxy, version: ssl.TLSVersion) -> None:
    """T05: each connection ends, at most one line is logged for each, nobody dies, nothing stays open."""
    proxy.begin()
    chance = random.Random(SEED)
    (worker,) = proxy.children("imap-login")
    before = {process.pid for process in proxy.processes()}
    fds = worker.num_fds()
    wrong = sum(shake_hands(proxy.imaps_port, version, number % 2, chance) for number in range(COUNT // 2))
    assert wrong > COUNT // 2 * 9 // 10
    wait_until("all descriptors are closed", lambda: worker.num_fds() <= fds + 1)
    assert {process.pid for process in proxy.processes()} == before
    text = proxy.log_text()
    assert text.count("TLS handshake failed: ") <= wrong
    assert "victim" not in text
    with proxy.secure() as client:
        assert client.ask(b"a1 NOOP\r\n").startswith(b"a1 OK")
