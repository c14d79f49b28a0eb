"""Would a relay in the kernel do? An experiment with a BPF sockmap; docs/sockmap.md has the answer.

Run `python3 bench/sockmap.py` as root. It needs no package, stays on loopback, and ends within a minute.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

_SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _PROG_ATTACH = 0, 2, 5, 8
_SOCKHASH, _SK_SKB, _SK_SKB_VERDICT = 18, 14, 38
_GET_SOCKET_COOKIE, _SK_REDIRECT_HASH = 46, 72
_SO_COOKIE = 57
_ROUND_TRIPS = 20000
_OFFERED_BYTES = 1 << 30
_BULK_BYTES = 256 << 20
_HALF_CLOSE_BYTES = 8 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = int(_libc.syscall(_SYS_BPF, command, buffer, 128))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _instruction(code: int, destination: int, source: int, offset: int, value: int) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | destination, offset, value)


class SockMap:
    """A map in which each socket is found by its peer's cookie, and the program that redirects there."""

    def __init__(self) -> None:
        self._map = _bpf(_MAP_CREATE, struct.pack("5I", _SOCKHASH, 8, 4, 65536, 0))
        program = b"".join(
            (
                _instruction(0xBF, 6, 1, 0, 0),  # r6 = the packet
                _instruction(0x85, 0, 0, 0, _GET_SOCKET_COOKIE),
                _instruction(0x7B, 10, 0, -8, 0),  # the key: the cookie of the socket that it came to
                _instruction(0xBF, 1, 6, 0, 0),
                _instruction(0x18, 2, 1, 0, self._map),
                _instruction(0, 0, 0, 0, 0),
                _instruction(0xBF, 3, 10, 0, 0),
                _instruction(0x07, 3, 0, 0, -8),
                _instruction(0xB7, 4, 0, 0, 0),
                _instruction(0x85, 0, 0, 0, _SK_REDIRECT_HASH),
                _instruction(0x95, 0, 0, 0, 0),
            )
        )
        code, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
        places = (ctypes.addressof(code), ctypes.addressof(licence))
        loaded = _bpf(_PROG_LOAD, struct.pack("IIQQ", _SK_SKB, len(program) // 8, *places))
        _bpf(_PROG_ATTACH, struct.pack("IIII", self._map, loaded, _SK_SKB_VERDICT, 0))

    def join(self, one: socket.socket, other: socket.socket) -> None:
        """Let the kernel pass on between them from now on, beginning with what waits."""
        for source, destination in ((one, other), (other, one)):
            key = ctypes.create_string_buffer(source.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8), 8)
            value = ctypes.create_string_buffer(struct.pack("I", destination.fileno()), 4)
            places = (ctypes.addressof(key), ctypes.addressof(value))
            _bpf(_MAP_UPDATE, struct.pack("IIQQQ", self._map, 0, *places, 0))
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)  # looks at the queue again


def _connection() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    return far, near


@contextlib.contextmanager
def _relay() -> Iterator[tuple[socket.socket, socket.socket, socket.socket, socket.socket]]:
    """Yield the client, our two sockets, and the backend."""
    with contextlib.ExitStack() as stack:
        client, to_client = map(stack.enter_context, _connection())
        backend, to_backend = map(stack.enter_context, _connection())
        yield client, to_client, to_backend, backend


def _available_mib() -> int:
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) >> 10


def _busy_ticks() -> int:
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:8]]
    return sum(ticks) - ticks[3] - ticks[4]


def early_bytes() -> str:
    """Bytes that came before the sockets were joined."""
    with _relay() as (client, to_client, to_backend, backend):
        client.sendall(b"early")
        time.sleep(0.1)
        SockMap().join(to_client, to_backend)
        backend.settimeout(2)
        return f"delivered: {backend.recv(100) == b'early'}"


def round_trips(in_kernel: bool) -> str:
    """CPU time of round trips of a few bytes, ours and the whole machine's."""
    with _relay() as (client, to_client, to_backend, backend):
        if in_kernel:
            SockMap().join(to_client, to_backend)
        players = [os.fork()]
        if players[0] == 0:
            for other in (client, to_client, to_backend):
                other.close()
            while data := backend.recv(100):
                backend.sendall(data)
            os._exit(0)
        players.append(os.fork())
        if players[1] == 0:
            for _ in range(_ROUND_TRIPS):
                client.sendall(b"a noop\r\n")
                client.recv(100)
            os._exit(0)
        client.close()
        backend.close()
        before, ours_before = _busy_ticks(), time.process_time()
        if in_kernel:
            os.waitpid(players.pop(), 0)
        else:
            _copy(to_client, to_backend)
        ours_us = (time.process_time() - ours_before) / _ROUND_TRIPS * 1e6
        machine_us = (_busy_ticks() - before) * 1e6 / os.sysconf("SC_CLK_TCK") / _ROUND_TRIPS
    for player in players:
        os.waitpid(player, 0)
    return f"{ours_us:.1f} us in the relay's process, {machine_us:.0f} us of the machine"


def _copy(one: socket.socket, other: socket.socket) -> None:
    with select.epoll() as epoll:
        peers = {one.fileno(): (one, other), other.fileno(): (other, one)}
        for fd in peers:
            epoll.register(fd, select.EPOLLIN)
        with contextlib.suppress(OSError):  # The sockets are closed under the one of the last question.
            while True:
                for fd, _events in epoll.poll():
                    source, destination = peers[fd]
                    data = source.recv(4096)
                    if not data:
                        return
                    destination.sendall(data)


def bulk() -> str:
    """Whether bytes arrive whole and in order at a reader who keeps up."""
    with _relay() as (client, to_client, to_backend, backend):
        SockMap().join(to_client, to_backend)
        block, sent, got = os.urandom(1 << 20), hashlib.sha256(), hashlib.sha256()

        def write() -> None:
            for _ in range(_BULK_BYTES >> 20):
                client.sendall(block)
                sent.update(block)

        writer = threading.Thread(target=write)
        writer.start()
        backend.settimeout(10)
        count = 0
        while count < _BULK_BYTES:
            data = backend.recv(1 << 18)
            count += len(data)
            got.update(data)
        writer.join()
        return f"equal: {sent.digest() == got.digest()}"


def half_close() -> str:
    """What is lost when the client's end is passed on as soon as it is seen."""
    with _relay() as (client, to_client, to_backend, backend):
        SockMap().join(to_client, to_backend)
        client.setblocking(True)

        def write() -> None:
            client.sendall(bytes(_HALF_CLOSE_BYTES))
            client.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        with select.epoll() as epoll:
            epoll.register(to_client, select.EPOLLRDHUP)
            writer.start()
            epoll.poll(10)
        to_backend.shutdown(socket.SHUT_WR)
        writer.join()
        count = 0
        while data := backend.recv(65536):
            count += len(data)
        return f"{_HALF_CLOSE_BYTES - count} of {_HALF_CLOSE_BYTES} bytes lost"


def stopped_reader(in_kernel: bool) -> str:
    """How much a backend can send to a client that reads nothing, and what holds it."""
    with _relay() as (_client, to_client, to_backend, backend):
        before_mib = _available_mib()
        if in_kernel:
            SockMap().join(to_client, to_backend)
        else:
            threading.Thread(target=_copy, args=(to_backend, to_client), daemon=True).start()
        backend.settimeout(2)
        sent_bytes, block = 0, bytes(65536)
        with contextlib.suppress(TimeoutError):
            while sent_bytes < _OFFERED_BYTES:
                sent_bytes += backend.send(block)
        held_mib = before_mib - _available_mib()
        return f"takes {sent_bytes >> 20} of {_OFFERED_BYTES >> 20} MiB, the machine has {held_mib} MiB less"


def main() -> None:
    """Print one line for each question."""
    print(f"Linux {platform.release()}, {platform.machine()}")
    print("bytes that waited:", early_bytes())
    for _ in range(2):
        print("round trip, copied:", round_trips(in_kernel=False))
        print("round trip, sockmap:", round_trips(in_kernel=True))
    print("256 MiB, sockmap:", bulk())
    print("end of a direction, sockmap:", half_close())
    print("reader stopped, copied:", stopped_reader(in_kernel=False))
    print("reader stopped, sockmap:", stopped_reader(in_kernel=True))


if __name__ == "__main__":
    main()
