"""Rights that no login process needs again: new privileges, core dumps, and all but some system calls.

The list of allowed calls is compiled by libseccomp, once and in a process of its own: what that loads would
cost every child memory. Children only hand the finished program to the kernel. A call that is not allowed
fails with EPERM, as if forbidden by other means: one that we have overlooked must not end ten thousand
sessions. Those on the list are known to the kernel as always allowed and cost some 30 ns each.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from functools import cache

# prctl(2)
_SET_DUMPABLE = 4
_SET_NAME = 15
_SET_SECCOMP = 22
_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2
_EPERM = 1
# ioctl(2) of sockets that are set non-blocking, and how much is to be read.
_FIONBIO, _FIONREAD = 0x5421, 0x541B
_INSTRUCTION_BYTES = 8
_FAMILIES = (1, 2, 10)
_CALLS = {
    "bytes": "read write readv writev recvfrom sendto recvmsg sendmsg splice",
    "sockets": "accept4 connect bind shutdown getsockopt setsockopt getsockname getpeername close",
    "descriptors": "fcntl pipe2 dup fstat newfstatat lseek",
    "waiting": "epoll_create1 epoll_ctl epoll_wait epoll_pwait poll ppoll futex sched_yield restart_syscall",
    "time and chance": "clock_gettime clock_getres gettimeofday time getrandom clock_nanosleep",
    "memory": "brk mmap munmap mremap madvise mprotect",
    "signals": "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack",
    "oneself": "getpid gettid getppid getuid geteuid getgid getegid uname sysinfo getrusage exit exit_group",
}


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


_prctl = ctypes.CDLL(None).prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


@cache
def begin() -> tuple[int, int]:
    """Start to compile the filter, which takes a while; returns who does so, and a pipe for the result."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(Exception):
            os.write(write_fd, _compile())
        os._exit(0)
    os.close(write_fd)
    return pid, read_fd


@cache
def program() -> bytes:
    """Return the compiled filter, empty where library or kernel lacks it."""
    pid, read_fd = begin()
    with os.fdopen(read_fd, "rb") as pipe:
        found = pipe.read()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    return found


def _compile() -> bytes:
    # Debian's python3-seccomp is the library's own binding, pyseccomp speaks to the same library.
    try:
        seccomp = importlib.import_module("seccomp")
    except ImportError:
        seccomp = importlib.import_module("pyseccomp")
    rules = seccomp.SyscallFilter(seccomp.ERRNO(_EPERM))
    for names in _CALLS.values():
        for name in names.split():
            # One that this architecture does not have is allowed to nobody.
            with contextlib.suppress(Exception):
                rules.add_rule(seccomp.ALLOW, name)
    for name, values in (
        ("socket", _FAMILIES),
        ("ioctl", (_FIONBIO, _FIONREAD)),
        ("prctl", (_SET_NAME,)),
    ):
        for value in values:
            rules.add_rule(seccomp.ALLOW, name, seccomp.Arg(0 if name != "ioctl" else 1, seccomp.EQ, value))
    fd = os.memfd_create("filter")
    with os.fdopen(fd, "w+b") as file:
        rules.export_bpf(file)
        return os.pread(fd, os.fstat(fd).st_size, 0)


@cache
def loadable() -> _Program | None:
    """Return the filter as the kernel takes it, if there is one; the master asks before it forks."""
    found = program()
    return _Program(len(found) // _INSTRUCTION_BYTES, found) if found else None


def forbid(*, others: bool) -> None:
    """Give up new privileges and core dumps, and with `others` all other system calls, where that can be had.

    No set-uid program gives this process rights from here on, and its memory is open to root alone.
    """
    _prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    if others and (filled := loadable()) is not None:
        _prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(filled), 0, 0)
