"""Pipes that bulk bytes are spliced through, without entering this process's memory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

PIPE_BYTES = 1 << 20
_IDLE_PIPES = 8
_NO_PIPE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Pipe:
    """A kernel buffer; `held_bytes` says how much waits in it, `is_ours` that no other process has had it."""

    __slots__ = ("held_bytes", "is_ours", "read_fd", "write_fd")

    def __init__(self, read_fd: int, write_fd: int, held_bytes: int = 0, *, is_ours: bool = True) -> None:
        self.is_ours = is_ours
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.held_bytes = held_bytes

    def close(self) -> None:
        """Let go of both ends, and of what waits."""
        os.close(self.read_fd)
        os.close(self.write_fd)


class PipePool:
    """Pipes between turns. One per process."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []

    def borrow(self) -> Pipe | None:
        """Return an empty pipe, or None when the process has no descriptor left for one."""
        if self._idle:
            return self._idle.pop()
        try:
            read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _NO_PIPE:
                return None
            raise
        # Past the user's share of pipe memory the default size serves as well, only slower.
        with contextlib.suppress(OSError):
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return Pipe(read_fd, write_fd)

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back; one that still holds bytes is closed, its bytes belong to nobody else.

        So is one of another process, which may have kept its ends: it would see the bytes of others.
        """
        if pipe.held_bytes == 0 and pipe.is_ours and len(self._idle) < _IDLE_PIPES:
            self._idle.append(pipe)
        else:
            pipe.close()
