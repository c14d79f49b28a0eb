"""What every child does first."""

from __future__ import annotations

import os
import pwd
import resource
import tempfile
from collections.abc import Callable

import pytest

from mailproxy.base.level import Level
from mailproxy.ipc import log_frames
from mailproxy.process import child
from mailproxy.process.child import ChildLog

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root's rights")


def in_a_child(body: Callable[[], object]) -> str:
    """Fork, run `body` and return what it returned as text, or the error."""
    read_fd, write_fd = os.pipe()
    high = os.dup2(write_fd, 900)
    pid = os.fork()
    if pid == 0:
        try:
            said = str(body())
        except BaseException as error:
            said = repr(error)
        os.write(high, said.encode())
        os._exit(0)
    os.close(write_fd)
    os.close(high)
    os.waitpid(pid, 0)
    with os.fdopen(read_fd) as pipe:
        return pipe.read()


def open_fds() -> list[int]:
    return [fd for fd in range(1024) if os.path.exists(f"/proc/self/fd/{fd}")]


@pytest.mark.parametrize("keep", [[900], [5, 900], [900, 900, 3, 4], [1, 900, -1]])
def test_keep_only(keep: list[int]) -> None:
    """V05: nothing else stays open, whatever was."""

    def body() -> list[int]:
        for fd in (3, 4, 5, 6, 20, 500, 1023):
            os.dup2(900, fd)
        child.keep_only(keep)
        return open_fds()

    assert in_a_child(body) == str(sorted({0, 1, 2, 900, *(fd for fd in keep if fd > 2)}))


def test_standard_descriptors() -> None:
    """A traceback goes to the log; there is nothing to read, and nowhere to print."""
    read_fd, write_fd = os.pipe()

    def body() -> tuple[bytes, int, int]:
        child.wire_standard_fds(write_fd)
        return os.read(0, 10), os.write(1, b"lost"), os.write(2, b"logged")

    assert in_a_child(body) == "(b'', 4, 6)"
    assert os.read(read_fd, 100) == b"logged"
    os.close(read_fd)
    os.close(write_fd)


@needs_root
def test_become_gives_root_up_for_good() -> None:
    """V01, V02, V03."""

    def body() -> tuple[object, ...]:
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0o755)
            child.become("nobody", chroot=root)
            escaped = False
            try:
                os.setuid(0)
                escaped = True
            except PermissionError:
                pass
            return os.getresuid(), os.getresgid(), os.getgroups(), os.listdir("/"), escaped

    nobody = pwd.getpwnam("nobody")
    ids = (nobody.pw_uid,) * 3, (nobody.pw_gid,) * 3
    assert in_a_child(body) == str((*ids, [], [], False))


@needs_root
def test_become_with_the_users_groups() -> None:
    def body() -> list[int]:
        child.become("nobody", extra_groups=True)
        return os.getgroups()

    assert in_a_child(body) == str(os.getgrouplist("nobody", pwd.getpwnam("nobody").pw_gid))


@needs_root
def test_become_an_unknown_user() -> None:
    assert in_a_child(lambda: child.become("no-such-user")).startswith("KeyError")


@needs_root
def test_a_worker_cannot_fork() -> None:
    """V09."""

    def body() -> int:
        child.become("nobody")
        child.forbid_processes()
        return os.fork()

    assert in_a_child(body).startswith("BlockingIOError")


def test_limits() -> None:
    """V08, F21."""

    def body() -> tuple[object, ...]:
        child.no_core_dump()
        child.limit_memory(0)
        before = resource.getrlimit(resource.RLIMIT_AS)
        child.limit_memory(4096)
        return (
            resource.getrlimit(resource.RLIMIT_CORE),
            before == resource.getrlimit(resource.RLIMIT_AS),
            resource.getrlimit(resource.RLIMIT_AS),
        )

    assert in_a_child(body) == str(((0, 0), False, (4 << 30, 4 << 30)))


# -- the log ----------------------------------------------------------------------------------------------


class Pipe:
    """A log pipe and what came out of it."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK)

    def lines(self) -> list[tuple[Level, str]]:
        data = b""
        while True:
            try:
                data += os.read(self.read_fd, 1 << 20)
            except BlockingIOError:
                return [log_frames.parse(line) for line in data.split(b"\n") if line]

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


def test_lines_without_a_reactor_leave_at_once() -> None:
    pipe = Pipe()
    log = ChildLog(pipe.write_fd)
    log.write(Level.INFO, "one")
    assert pipe.lines() == [(Level.INFO, "one")]
    pipe.close()


def test_lines_with_a_reactor_leave_together() -> None:
    pipe = Pipe()
    timers: list[Callable[[], None]] = []
    log = ChildLog(pipe.write_fd, call_later=lambda _delay_s, call: timers.append(call))
    for number in range(5):
        log.write(Level.INFO, str(number))
    assert pipe.lines() == []
    (timer,) = timers
    timer()
    assert [text for _, text in pipe.lines()] == list("01234")
    log.write(Level.ERROR, "next")
    assert len(timers) == 2
    log.flush()
    assert pipe.lines() == [(Level.ERROR, "next")]
    timers[1]()
    assert pipe.lines() == []
    pipe.close()


def test_pieces_stay_whole_among_those_of_others() -> None:
    """The kernel keeps writes of up to 4 KiB together."""
    pipe = Pipe()
    sizes: list[int] = []
    real = os.write

    def note(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(fd, data)

    log = ChildLog(pipe.write_fd, call_later=lambda _delay_s, _call: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", note)
        for number in range(40):
            log.write(Level.INFO, f"{number} " + "x" * 900)
        log.flush()
    assert max(sizes) <= 4096
    assert len(sizes) == 10
    assert [int(text.split()[0]) for _, text in pipe.lines()] == list(range(40))
    pipe.close()


def test_a_full_pipe_loses_lines_but_never_blocks() -> None:
    """X10: the reader stands still; what did not fit is counted, and told as soon as there is room."""
    pipe = Pipe()
    log = ChildLog(pipe.write_fd)
    for number in range(5000):
        log.write(Level.INFO, f"{number:05} " + "x" * 100)
    kept = pipe.lines()
    log.write(Level.INFO, "after")
    kept += pipe.lines()
    lost = sum(int(text.split()[0]) for level, text in kept if level is Level.WARNING)
    numbers = [int(text.split()[0]) for level, text in kept[:-1] if level is Level.INFO]
    assert kept[-1] == (Level.INFO, "after")
    assert numbers == sorted(numbers)
    assert lost > 1000
    assert lost + len(numbers) == 5000
    pipe.close()


def test_a_reader_that_is_gone_does_no_harm() -> None:
    """F05: the master died."""
    pipe = Pipe()
    log = ChildLog(pipe.write_fd)
    os.close(pipe.read_fd)
    log.write(Level.INFO, "to nobody")
    os.close(pipe.write_fd)
