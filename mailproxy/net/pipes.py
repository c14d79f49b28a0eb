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
    """A kernel buffer; `held_bytes` says how much waits in it."""

    __slots__ = ("held_bytes", "read_fd", "write_fd")

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.held_bytes = 0

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
        """Take a pipe back; one that still holds bytes is closed, its bytes belong to nobody else."""
        if pipe.held_bytes == 0 and len(self._idle) < _IDLE_PIPES:
            self._idle.append(pipe)
        else:
            pipe.close()


def take_from_pipe(read_fd: int, write_fd: int, held_bytes: int) -> bytes | None:
    """Take what waits in a pipe of another process, and close its ends; None if that is not there.

    Whoever has kept its ends would see the bytes of others, so the pipe serves nobody else. Nor is it read:
    he may have set it blocking, and emptied it. A splice into a pipe of ours does not wait.
    """
    fds = [read_fd, write_fd]
    pieces: list[bytes] = []
    try:
        if held_bytes > PIPE_BYTES:
            return None
        ours, into_ours = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        fds += ours, into_ours
        while held_bytes:
            got_bytes = os.splice(read_fd, into_ours, held_bytes, flags=os.SPLICE_F_NONBLOCK)
            if not got_bytes:
                return None
            pieces.append(os.read(ours, got_bytes))
            held_bytes -= got_bytes
    except OSError:
        return None
    finally:
        for fd in fds:
            os.close(fd)
    return b"".join(pieces)
