"""Plays mixed traffic against a proxy and compares each answer with the model."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import socket
import struct
import time
from collections import Counter
from typing import NamedTuple

from tests.stress.apart import Gate
from tests.stress.load import HOST, source
from tests.stress.traffic import Conversation, Person, Step, conversations

PATIENCE_S = 40.0
_RESET = struct.pack("ii", 1, 0)
_MOST_AT_ONCE = 300


class Soaked(NamedTuple):
    """What came of the traffic."""

    kinds: Counter[str]
    steps: int
    unexpected: list[str]
    slowest_s: float
    """From connect to the end, of those who were let in."""


class _Deviation(Exception):
    """An answer that the model does not know."""


async def _answer(reader: asyncio.StreamReader, step: Step) -> None:
    """Take what must come."""
    wanted = len(step.send) if step.is_echo else 1 << 20
    came = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not (came == step.send if step.is_echo else re.fullmatch(step.want, came)):
                data = await reader.read(65536)
                came += data
                if not data or len(came) > wanted:
                    break
            else:
                return
    if step.is_echo:
        raise _Deviation(f"{len(came)} bytes came for {len(step.send)} that were to be echoed")
    raise _Deviation(f"{step.send[:60]!r} was answered by {came[:300]!r}")


async def _play(one: Conversation, port: int, host: str) -> None:
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=(host, 0))
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for step in one.steps:
            for at in range(0, len(step.send), step.piece_bytes):
                writer.write(step.send[at : at + step.piece_bytes])
                await asyncio.sleep(0)
            await _answer(reader, step)
        if one.end == "proxy":
            rest = await asyncio.wait_for(reader.read(1000), PATIENCE_S)
            if rest:
                raise _Deviation(f"more came at the end: {rest[:200]!r}")
        elif one.end == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def soak(
    gate: Gate, imap_port: int, pop3_port: int, people: list[Person], seed: int, a_second: float
) -> Soaked:
    """Begin so many conversations a second until stopped, and finish those that are under way."""
    kinds: Counter[str] = Counter()
    unexpected: list[str] = []
    steps, slowest_s = 0, 0.0
    numbers = itertools.count()
    room = asyncio.Semaphore(_MOST_AT_ONCE)
    chance = random.Random(seed)

    async def run(one: Conversation) -> None:
        nonlocal steps, slowest_s
        port = imap_port if one.protocol == "imap" else pop3_port
        began_s = time.monotonic()
        try:
            await _play(one, port, source(next(numbers) % 60000))
        except (_Deviation, OSError, TimeoutError) as error:
            unexpected.append(f"{one.protocol} {one.kind}: {error!r}")
        finally:
            room.release()
        kinds[one.kind] += 1
        steps += len(one.steps)
        if one.kind in ("echo", "read mail"):
            slowest_s = max(slowest_s, time.monotonic() - began_s)

    gate.ready()
    async with asyncio.TaskGroup() as group:
        for one in conversations(seed, people):
            if not await gate.pause(chance.expovariate(a_second)):
                break
            await room.acquire()
            group.create_task(run(one))
    return Soaked(kinds, steps, unexpected, slowest_s)
