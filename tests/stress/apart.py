"""Coroutines in processes of their own, so that those who make load do not starve whoever watches it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

# The server is forked once and has nothing open: a child of the tests themselves would hold their sockets.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.stress.load", "tests.stress.echo", "tests.stress.soak"])

P = ParamSpec("P")
R = TypeVar("R")


class Gate:
    """What a coroutine knows of whoever started it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.stop = asyncio.Event()
        """Set when it is asked to end, or when nobody is there to ask any more."""
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._on_word)

    def _on_word(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self.stop.set()

    def ready(self, value: object = None) -> None:
        """Say that it stands, and what it found on the way."""
        self._pipe.send(value)

    async def pause(self, for_s: float) -> bool:
        """Wait a while; tells whether to go on."""
        try:
            await asyncio.wait_for(self.stop.wait(), for_s)
        except TimeoutError:
            return True
        return False


class Apart(Generic[R]):
    """Runs `body(gate, ...)` in its own process, until `finish` or the end of the `with`."""

    def __init__(
        self, body: Callable[Concatenate[Gate, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        self._name = body.__name__
        self._pipe, theirs = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_run, args=(theirs, body, args, kwargs), daemon=True)
        self._process.start()
        theirs.close()

    def _receive(self, timeout_s: float) -> Any:
        if not self._pipe.poll(timeout_s):
            raise AssertionError(f"{self._name} said nothing for {timeout_s:g} s")
        try:
            value = self._pipe.recv()
        except EOFError:
            raise AssertionError(f"{self._name} has ended") from None
        if isinstance(value, _Failure):
            raise AssertionError(f"{self._name} failed:\n{value.text}")
        return value

    def wait_ready(self, timeout_s: float = 60.0) -> Any:
        """Wait for `Gate.ready` and return what it was given."""
        return self._receive(timeout_s)

    def finish(self, timeout_s: float = 60.0) -> R:
        """Ask it to end and return its result."""
        self._pipe.send(None)
        result: R = self._receive(timeout_s)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _run(pipe: Connection, body: Callable[..., Awaitable[object]], args: Any, kwargs: Any) -> None:
    async def call() -> object:
        return await body(Gate(pipe), *args, **kwargs)

    try:
        result = asyncio.run(call())
    except BaseException:
        result = _Failure(traceback.format_exc())
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        pipe.send(result)
