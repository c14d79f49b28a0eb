"""A backend for thousands of sessions: one process, which lets everybody in and echoes."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from tests.stress.apart import Gate

HOST = "127.0.0.1"


class EchoPorts(NamedTuple):
    """Where it listens."""

    imap: int
    pop3: int


class _Echo(asyncio.Protocol):
    """One connection; a half-close is answered with the rest and the other half."""

    def __init__(self, greeting: bytes, commands: int) -> None:
        self._greeting = greeting
        self._commands = commands
        self._line = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        while self._commands:
            line, end, rest = (self._line + data).partition(b"\n")
            if not end:
                self._line = line
                return
            self._line, data = b"", rest
            self._commands -= 1
            self._answer(line)
        if data:
            self._transport.write(data)

    def _answer(self, line: bytes) -> None:
        tag, word, *_ = line.rstrip().split(b" ")
        if word == b"CAPABILITY":
            self._commands += 1  # the login is still to come
            self._transport.write(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")
        elif word == b"LOGIN":
            self._transport.write(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        else:
            self._transport.write(b"+OK in\r\n")


async def serve_echo(gate: Gate) -> None:
    """Serve until stopped; its ports are what `ready` is given."""
    loop = asyncio.get_running_loop()
    imap = await loop.create_server(lambda: _Echo(b"* OK echo\r\n", 1), HOST, 0, backlog=4096)
    pop3 = await loop.create_server(lambda: _Echo(b"+OK echo\r\n", 2), HOST, 0, backlog=4096)
    ports = [server.sockets[0].getsockname()[1] for server in (imap, pop3)]
    gate.ready(EchoPorts(*ports))
    await gate.stop.wait()
