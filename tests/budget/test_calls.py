"""Python calls of a login worker for one login, against `budget.json`.

A login's user time is spread over so many small functions that none of them stands out; it grows by one call
here and one there. Their number does not depend on the machine. The worker is real, the test is everybody
else.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from types import FrameType

import pytest

from mailproxy.auth.shares import Shares
from mailproxy.config.load import load as load_settings
from mailproxy.net.seen_certificates import SeenCertificates
from mailproxy.net.signals import unblock_all
from mailproxy.process import child, login, login_policy
from tests.harness.folder import open_folder

BUDGET = Path(__file__).with_name("budget.json")
PATIENCE_S = 20.0
FEW, MANY = 20, 120
# How often these are called depends on what comes at the same time, so on the machine.
OF_TIME = frozenset(
    (
        *("Reactor.run_once", "Reactor._wait_s", "Reactor._run_timers", "Reactor.call_at", "Timer.__init__"),
        *("Reactor.call_later", "Reactor._look_at_deadlines", "AuthLink._sweep", "AuthLink._arm_sweep"),
        *("ChildLog._on_time", "ChildLog.flush", "ChildLog._send"),
        *("Scrub.arm", "Scrub._on_time", "sweep", "_take", "_fill_used_pools", "_fill_free_pools"),
        *("_fill_kept_chunks", "_fill_kept_chunks.<locals>.<listcomp>"),
    )
)
TALK = {
    "imap": (
        b"a LOGIN john geheim\r\n",
        [(b"* OK [CAPABILITY IMAP4rev1 ID] in\r\n", 2), (b"* ID NIL\r\n%bI OK\r\n%b OK in\r\n", 0)],
    ),
    "pop3": (b"PASS geheim\r\n", [(b"+OK\r\n", 1), (b"+OK\r\n", 1), (b"+OK in\r\n", 0)]),
}
"""What the client says in the end, and what the backend answers, with the number of lines that follow."""


class CountedWorker:
    """Owns the worker's process and its peers' sockets until the end of its `with` block."""

    def __init__(self, protocol: str, folder: Path) -> None:
        self._protocol = protocol
        self._close = contextlib.ExitStack()
        self._clients, self._backends = self._listener(), self._listener()
        auths = self._close.enter_context(socket.socket(socket.AF_UNIX))
        auths.bind(str(folder / "auth"))
        (folder / "auth").chmod(0o666)
        auths.listen()
        auths.settimeout(PATIENCE_S)
        self._result_fd, result_end = os.pipe()
        self._close.callback(os.close, self._result_fd)
        self._pid = self._fork(folder, result_end)
        os.close(result_end)
        self._auth = self._close.enter_context(auths.accept()[0])
        self._auth.settimeout(PATIENCE_S)
        self._auth.sendall(b"VERSION\t1\t0\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t2\nDONE\n")
        lines(self._auth, 2)

    def _listener(self) -> socket.socket:
        listener = self._close.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE_S)
        return listener

    def _fork(self, folder: Path, result_end: int) -> int:
        path = folder / "dovecot.conf"
        path.write_text(
            f"base_dir = {folder}\nlogin_dir = {folder}\nprotocols = {self._protocol}\nssl_disable = yes\n"
            "login_chroot = no\nlogin_user = nobody\nlogin_process_per_connection = no\n"
            "login_process_size = 0\nlogin_seccomp = no\n"
            "auth default {\n  passdb static {\n    args = nopassword=y\n  }\n"
            "  userdb static {\n    args = uid=0 gid=0\n  }\n}\n"
        )
        (settings,) = load_settings(str(path)).logins
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._close.enter_context(ours)
        pid = os.fork()
        if pid:
            theirs.close()
            return pid
        calls = 0

        def note(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event == "call" and frame.f_code.co_qualname not in OF_TIME

        try:
            self._clients.setblocking(False)
            child.wire_standard_fds(os.open(os.devnull, os.O_WRONLY))
            child.keep_only([self._clients.fileno(), theirs.fileno(), result_end])
            unblock_all()
            policy = login_policy.make_policy(settings, (), has_tls=False)
            seen, shares = SeenCertificates(), [Shares(("auth",))]
            worker = login.Worker(settings, [self._clients], [], None, None, seen, shares, policy)
            sys.setprofile(note)
            worker.run(theirs)
            sys.setprofile(None)
            os.write(result_end, str(calls).encode())
        except BaseException:
            os.write(result_end, traceback.format_exc().encode())
        finally:
            os._exit(0)

    def log_in(self) -> None:
        """Play one session from its connection to its end, each step after the one before has arrived."""
        last, answers = TALK[self._protocol]
        with socket.create_connection(self._clients.getsockname(), PATIENCE_S) as client:
            lines(client, 1)
            if self._protocol == "pop3":
                client.sendall(b"USER john\r\n")
                lines(client, 1)
            client.sendall(last)
            number = lines(self._auth, 1).split(b"\t")[1]
            port = self._backends.getsockname()[1]
            self._auth.sendall(
                b"OK\t%b\tuser=john\tproxy\thost=127.0.0.1\tport=%d\tpass=geheim\n" % (number, port)
            )
            backend = self._backends.accept()[0]
            with backend:
                backend.settimeout(PATIENCE_S)
                tag = b""
                for answer, asked in answers:
                    backend.sendall(answer.replace(b"%b", tag))
                    tag = lines(backend, asked).partition(b" ")[0] if asked else tag
                lines(client, 1)
                client.sendall(b"n\r\n")
                lines(backend, 1)
                backend.sendall(b"y\r\n")
                lines(client, 1)
                client.shutdown(socket.SHUT_WR)
                assert backend.recv(1) == b""
            assert client.recv(1) == b""

    def stop(self) -> int:
        """End the worker and return how many calls it has made."""
        os.kill(self._pid, signal.SIGTERM)
        return int(os.read(self._result_fd, 65536))

    def __enter__(self) -> CountedWorker:
        return self

    def __exit__(self, *_exception: object) -> None:
        with self._close:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def lines(sock: socket.socket, count: int) -> bytes:
    """Read so many lines; return the last one without its end."""
    data = b""
    while data.count(b"\n") < count:
        more = sock.recv(4096)
        assert more, f"closed behind {data!r}"
        data += more
    return data.rstrip(b"\r\n").rpartition(b"\n")[2]


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_a_login(protocol: str) -> None:
    """From the connection to its end; what starting and stopping take is in both counts."""
    counts = []
    for logins in (FEW, MANY):
        with open_folder("calls") as folder, CountedWorker(protocol, folder) as worker:
            for _ in range(logins):
                worker.log_in()
            counts.append(worker.stop())
    calls = (counts[1] - counts[0]) / (MANY - FEW)
    budget = json.loads(BUDGET.read_text())["Python calls"][protocol]
    assert calls <= budget + 0.5, f"{calls} Python calls, budget {budget}: which are new?"
    assert calls > budget - 3, f"only {calls} Python calls, budget {budget}: lower budget.json"
