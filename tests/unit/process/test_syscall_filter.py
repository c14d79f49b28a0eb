from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401  as net.tls_context does, for server_hostname
import errno
import fcntl
import os
import select
import socket
import ssl
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mailproxy.process import syscall_filter

needs_filter = pytest.mark.skipif(
    not syscall_filter.program(), reason="no libseccomp here, or no pyseccomp for it"
)


def in_child(act: Callable[[], object], *, others: bool) -> int:
    """Return the errno that `act` fails with behind the filter, 0 for success, 255 for another exception."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            syscall_filter.forbid(others=others)
            act()
            code = 0
        except OSError as error:
            code = error.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def trace_me() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "ptrace")


FORBIDDEN: dict[str, Callable[[], object]] = {
    "open": lambda: os.open("/dev/null", os.O_RDONLY),
    "write a file": lambda: Path("/tmp/never").write_text("x"),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "ptrace": trace_me,
    "kill": lambda: os.kill(os.getppid(), 0),
    "chroot": lambda: os.chroot("/"),
    "setuid": lambda: os.setresuid(0, 0, 0),
    "unlink": lambda: os.unlink("/nowhere"),
    "list": lambda: os.listdir("/"),
    "raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "datagrams to the system's log": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "Unix packets": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK),
    "UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "UDP over IPv6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    "a pair": socket.socketpair,
    "signals by a descriptor": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
}


@needs_filter
@pytest.mark.parametrize("name", list(FORBIDDEN))
def test_what_no_worker_needs_is_refused(name: str) -> None:
    """V03, V09: as an error, so that an oversight ends no process."""
    assert in_child(FORBIDDEN[name], others=True) == errno.EPERM


@pytest.mark.skipif(not syscall_filter.has_scopes(), reason="this kernel's Landlock has no scopes")
def test_abstract_sockets_of_others_are_out_of_reach() -> None:
    """V03: they are in no directory, so the jail does not hide them; auth's socket is not one of them."""
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as folder:
        listener.bind("")  # The kernel chooses a name.
        listener.listen()
        with socket.socket(socket.AF_UNIX) as auth:
            auth.bind(f"{folder}/auth")
            auth.listen()
            for others, code in ((False, 0), (True, errno.EPERM)):
                assert in_child(partial(connect, listener.getsockname()), others=others) == code
                assert in_child(partial(connect, auth.getsockname()), others=others) == 0


def connect(name: str | bytes) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(name)


def serve(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Do once what a worker does: TLS, descriptors over a socket, splice, memory, chance, a traceback."""
    for family in (socket.AF_UNIX, socket.AF_INET6):
        socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK).close()
    theirs = socket.socket(socket.AF_INET)
    theirs.setblocking(False)
    theirs.connect_ex(listener.getsockname())
    taken, _ = listener.accept()
    epoll = select.epoll()
    epoll.register(taken.fileno(), select.EPOLLIN)
    theirs.send(b"x" * 1000)
    assert epoll.poll(5)
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK)
    os.splice(taken.fileno(), write_fd, 500)
    os.splice(read_fd, taken.fileno(), 500)
    assert len(bytearray(os.urandom(8)) * (4 << 20)) == 32 << 20
    tls = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    assert socket.gethostname()


@needs_filter
def test_what_a_worker_does_is_allowed() -> None:
    """V04: without a file, a library or a name that is looked up late."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made by the master
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert in_child(lambda: serve(listener, context), others=True) == 0


def test_without_the_filter_only_rights_are_given_up() -> None:
    """V02, V08: no new privileges, no dump; everything else works."""

    def look() -> None:
        text = Path("/proc/self/status").read_text()
        if "NoNewPrivs:\t1" not in text or "Seccomp:\t0" not in text:
            raise OSError(errno.EINVAL, text)
        if ctypes.CDLL(None).prctl(3, 0, 0, 0, 0):  # PR_GET_DUMPABLE
            raise OSError(errno.ENOTUNIQ, "dumpable")

    assert in_child(look, others=False) == 0
