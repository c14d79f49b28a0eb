"""Mail clients in their hundreds and thousands, as coroutines for processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import time
from collections.abc import Awaitable, Iterable
from typing import NamedTuple, Self, TypeVar

from tests.stress.apart import Gate

HOST = "127.0.0.1"
USER = b"crowd"
PASSWORD = b"Crowd-Secret-44"
PATIENCE_S = 30.0
# Outcomes of a login; anything else is an answer that nobody expects.
OK, UNAVAILABLE, LOST, REFUSED, SILENT = "ok", "unavailable", "lost", "refused", "silent"

Address = tuple[str, int]
T = TypeVar("T")


def source(number: int) -> str:
    """Return a loopback address of its own for that client, from 127.0.0.2 on."""
    number += 2
    return f"127.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


class Login(NamedTuple):
    """An attempt to log in, in monotonic seconds, which are the same in all processes."""

    address: Address
    began_s: float
    ended_s: float
    outcome: str


class Client:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.address: Address = writer.get_extra_info("sockname")[:2]

    @classmethod
    async def connect(cls, port: int, host: str = HOST) -> Self:
        """Connect from `host` and take no greeting. Raises OSError."""
        reader, writer = await asyncio.open_connection(HOST, port, local_addr=(host, 0))
        return cls(reader, writer)

    async def line(self) -> bytes:
        """Take a line, an empty one at the connection's end."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.readline()
        return b""

    async def log_in(self) -> str:
        """Take the greeting and log in over IMAP; returns the outcome."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                greeting = await self.line()
                if not greeting.startswith(b"* OK "):
                    return LOST if not greeting else repr(greeting)
                self.writer.write(b"a1 LOGIN %s %s\r\n" % (USER, PASSWORD))
                reply = await self.line()
        except TimeoutError:
            return SILENT
        for outcome, beginning in ((OK, b"a1 OK "), (UNAVAILABLE, b"a1 NO [UNAVAILABLE] ")):
            if reply.startswith(beginning):
                return outcome
        return LOST if not reply else repr(reply)

    async def echoes(self) -> bool:
        """Tell whether a session carries bytes both ways."""
        word = b"still there?"
        try:
            async with asyncio.timeout(PATIENCE_S):
                self.writer.write(word)
                return await self.reader.readexactly(len(word)) == word
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            return False

    async def close(self) -> None:
        """End it by FIN."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def _all(work: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*work))


async def log_in_once(port: int, host: str) -> tuple[Login, Client | None]:
    """Connect and log in; the client, when there is one, is the caller's to close."""
    began_s = time.monotonic()
    try:
        client = await Client.connect(port, host)
    except ConnectionRefusedError:
        return Login((host, 0), began_s, time.monotonic(), REFUSED), None
    except ConnectionError:
        return Login((host, 0), began_s, time.monotonic(), LOST), None
    outcome = await client.log_in()
    return Login(client.address, began_s, time.monotonic(), outcome), client


async def log_in_on_and_on(
    gate: Gate, port: int, loops: int, pause_s: float, at_least: int = 0, first: int = 0
) -> list[Login]:
    """Log in again and again, `loops` at a time, until stopped and `at_least` so many have been made."""
    logins: list[Login] = []
    numbers = itertools.count(first)

    async def go_on() -> None:
        while len(logins) < at_least or not gate.stop.is_set():
            login, client = await log_in_once(port, source(next(numbers) % 20000))
            logins.append(login)
            if client is not None:
                await client.close()
            await gate.pause(pause_s) if not gate.stop.is_set() else await asyncio.sleep(pause_s)

    gate.ready()
    await _all(go_on() for _ in range(loops))
    return logins


class Held(NamedTuple):
    """Sessions that were held: whose connections were lost, and whether the others echo at the end."""

    lost: list[Address]
    broken: list[Address]
    kept: int


async def hold_sessions(gate: Gate, port: int, count: int, beat_s: float, first: int = 0) -> Held:
    """Hold so many sessions until stopped, used every `beat_s`; one that is lost is opened again."""
    lost: list[Address] = []
    broken: list[Address] = []
    standing = 0

    async def open_one(number: int) -> Client | None:
        while not gate.stop.is_set():
            login, client = await log_in_once(port, source(first + number))
            if login.outcome == OK:
                return client
            if client is not None:
                lost.append(client.address)
                await client.close()
            await gate.pause(0.05)
        return None

    async def hold(number: int) -> None:
        nonlocal standing
        client = await open_one(number)
        standing += 1
        if standing == count:
            gate.ready()
        while client is not None and await gate.pause(beat_s):
            if not await client.echoes():
                lost.append(client.address)
                await client.close()
                client = await open_one(number)
        if client is not None:
            if not await client.echoes():
                broken.append(client.address)
            await client.close()

    await _all(hold(number) for number in range(count))
    return Held(lost, broken, count - len(broken))


class Streamed(NamedTuple):
    """What came back of what a busy session sent."""

    address: Address
    sent_bytes: int
    is_equal: bool


async def stream(gate: Gate, port: int, count: int, seed: int, first: int = 0) -> list[Streamed]:
    """Send through so many sessions until stopped, and compare the hashes of both directions at the end."""
    standing = 0

    async def run(number: int) -> Streamed:
        nonlocal standing
        login, client = await log_in_once(port, source(first + number))
        assert client is not None, login.outcome
        assert login.outcome == OK, login.outcome
        standing += 1
        if standing == count:
            gate.ready()
        sent, received = hashlib.sha256(), hashlib.sha256()
        sent_bytes = 0

        async def read() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await client.reader.read(65536):
                    received.update(data)

        reading = asyncio.create_task(read())
        chance = random.Random(seed + number)
        with contextlib.suppress(ConnectionError):
            while await gate.pause(chance.uniform(0.0, 0.05)):
                block = chance.randbytes(int(chance.expovariate(1 / 8000)) + 1)
                sent.update(block)
                sent_bytes += len(block)
                client.writer.write(block)
                await client.writer.drain()
            client.writer.write_eof()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reading, PATIENCE_S)
        await client.close()
        return Streamed(client.address, sent_bytes, sent.digest() == received.digest())

    return await _all(run(number) for number in range(count))


class Slow(NamedTuple):
    """What became of clients that never finish their login."""

    greeted: int
    dropped: list[bytes]
    """What each who was sent away was told; he comes back after a while."""


async def be_slow(
    gate: Gate, port: int, count: int, first: int, byte_every_s: float, back_s: float, spread_s: float = 0.0
) -> Slow:
    """Open so many connections, each from its own address, and send a byte of a login now and then.

    They come within `spread_s`, and who is sent away comes back after `back_s`, give or take a half.
    """
    greeted = 0
    chance = random.Random(first)
    waiting = count
    dropped: list[bytes] = []
    rush = asyncio.Semaphore(50)

    def settle() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            gate.ready()

    async def hear(reading: Awaitable[bytes], for_s: float) -> bytes | None:
        """Wait for what the proxy says; None when it says nothing in time or the end has come."""
        hearing, stopping = asyncio.ensure_future(reading), asyncio.ensure_future(gate.stop.wait())
        await asyncio.wait([hearing, stopping], timeout=for_s, return_when=asyncio.FIRST_COMPLETED)
        heard = None
        if hearing.done():
            heard = b"" if hearing.exception() else hearing.result()
        hearing.cancel()
        stopping.cancel()
        return heard

    async def stay(client: Client) -> None:
        """Send until sent away or stopped."""
        for byte in itertools.cycle(b"LOGIN "):
            client.writer.write(bytes([byte]))
            heard = await hear(client.reader.read(200), byte_every_s)
            if heard is not None:
                dropped.append(heard)
            if heard is not None or gate.stop.is_set():
                return

    async def run(number: int) -> None:
        nonlocal greeted
        is_first = True
        await gate.pause(chance.uniform(0.0, spread_s))
        while not gate.stop.is_set():
            async with rush:
                client = await Client.connect(port, source(first + number))
                greeting = await hear(client.line(), PATIENCE_S)
            greeted += bool(greeting)
            if is_first:
                is_first = False
                settle()
            if greeting is not None:
                await stay(client)
            await client.close()
            await gate.pause(back_s * chance.uniform(0.5, 1.5))

    await _all(run(number) for number in range(count))
    return Slow(greeted, dropped)
