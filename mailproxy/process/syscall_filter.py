"""Rights that no login process needs again: new privileges, core dumps, and all but some system calls.

The list of allowed calls is compiled by libseccomp, once and in a process of its own: what that loads would
cost every child memory. Children only hand the finished program to the kernel. A call that is not allowed
fails with EPERM, as if forbidden by other means: one that we have overlooked must not end ten thousand
sessions. Those on the list are known to the kernel as always allowed and cost some 30 ns each.

To which Unix socket a process connects no filter can see. Those with a path are outside the jail; those with
an abstract name are everywhere, but newer kernels keep a process from them by Landlock's scopes.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from functools import cache
from os import close

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
# fcntl(2): copies, flags, locks and the sizes of pipes; by others a descriptor would send signals.
_FCNTLS = (0, 1, 2, 3, 4, 6, 7, 1030, 1031, 1032)
# landlock_create_ruleset(2): the numbers are those of all architectures; scopes came with version 6.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION, _WITH_SCOPES = 1, 6
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2
# Unix, IPv4, IPv6. Auth is connected to again when it comes back, and a filter does not see by which name.
_FAMILIES = (1, 2, 10)
_STREAM, _TYPE_BITS = 1, 0xF
_CALLS = {
    "bytes": "read write readv writev recvfrom sendto recvmsg sendmsg splice",
    "sockets": "accept4 connect bind shutdown getsockopt setsockopt getsockname getpeername close",
    "descriptors": "pipe2 dup fstat newfstatat lseek",
    "waiting": "epoll_create1 epoll_ctl epoll_wait epoll_pwait poll ppoll futex sched_yield restart_syscall",
    "time and chance": "clock_gettime clock_getres gettimeofday time getrandom clock_nanosleep",
    "memory": "brk mmap munmap mremap madvise mprotect",
    "signals": "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack",
    "oneself": "getpid gettid getppid getuid geteuid getgid getegid uname sysinfo getrusage exit exit_group",
}


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("handled_access_fs", "handled_access_net", "scoped")]


_libc = ctypes.CDLL(None)
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_syscall = _libc.syscall
_syscall.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
_scopes = _Ruleset(0, 0, _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL)
_SCOPES_ADDRESS, _SCOPES_BYTES = ctypes.addressof(_scopes), ctypes.sizeof(_scopes)


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
    for family in _FAMILIES:
        # Neither datagrams, which logs of the system take from everybody, nor packets.
        is_stream = seccomp.Arg(1, seccomp.MASKED_EQ, _TYPE_BITS, _STREAM)
        rules.add_rule(seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, family), is_stream)
    for value in _FCNTLS:
        rules.add_rule(seccomp.ALLOW, "fcntl", seccomp.Arg(1, seccomp.EQ, value))
    for value in (_FIONBIO, _FIONREAD):
        rules.add_rule(seccomp.ALLOW, "ioctl", seccomp.Arg(1, seccomp.EQ, value))
    rules.add_rule(seccomp.ALLOW, "prctl", seccomp.Arg(0, seccomp.EQ, _SET_NAME))
    fd = os.memfd_create("filter")
    with os.fdopen(fd, "w+b") as file:
        rules.export_bpf(file)
        return os.pread(fd, os.fstat(fd).st_size, 0)


@cache
def loadable() -> _Program | None:
    """Return the filter as the kernel takes it, if there is one; the master asks before it forks."""
    found = program()
    return _Program(len(found) // _INSTRUCTION_BYTES, found) if found else None


@cache
def has_scopes() -> bool:
    """Whether the kernel keeps processes from abstract sockets; the master asks before it forks."""
    return int(_syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)) >= _WITH_SCOPES


def _stay_in_scope() -> None:
    """Reach no abstract socket of others, nor signal them."""
    fd = _syscall(_CREATE_RULESET, _SCOPES_ADDRESS, _SCOPES_BYTES, 0)
    if fd >= 0:
        _syscall(_RESTRICT_SELF, fd, 0, 0)
        close(fd)


def forbid(*, others: bool) -> None:
    """Give up new privileges and core dumps, and with `others` all that logins do not need, if possible.

    No set-uid program gives this process rights from here on, and its memory is open to root alone.
    """
    _prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    if others and has_scopes():
        _stay_in_scope()
    if others and (filled := loadable()) is not None:
        _prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(filled), 0, 0)
