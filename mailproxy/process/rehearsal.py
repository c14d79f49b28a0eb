"""A login and its relay, played in the master over loopback before it forks workers: all sides are our own.

The interpreter rewrites a function's code while it runs for the first times, and fills its caches of types
and attributes. What a process per connection finds done it need not do for its one client, in pages that it
has to copy first. Nothing is read that came from elsewhere.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from contextlib import ExitStack
from dataclasses import replace

from mailproxy.auth.shares import Shares
from mailproxy.config.settings import LoginSettings
from mailproxy.ipc.auth_protocol import KNOWN_MECHANISMS
from mailproxy.ipc.auth_server_lines import render_greeting, render_lacking
from mailproxy.net.seen_certificates import SeenCertificates
from mailproxy.process.login import Worker
from mailproxy.process.login_policy import make_policy
from mailproxy.session.policy import Policy

_HOST = "127.0.0.1"
_PATIENCE_S = 0.2
_READ_BYTES = 4096
_MECHANISM = KNOWN_MECHANISMS["PLAIN"]
# Eight calls make the interpreter adapt a function; it takes some more until that has settled.
_TIMES = 10


def rehearse(settings: LoginSettings) -> None:
    """Play logins of this protocol, for some 30 ms; where there is no loopback, none."""
    simple = replace(
        settings,
        tls=replace(settings.tls, required=False),
        disable_plaintext_auth=False,
        haproxy=False,
        login_source_ips=(),
        verbose_proctitle=False,
    )
    policy = make_policy(simple, [_MECHANISM], has_tls=False)
    # IndexError: somebody came between, and left without a word.
    with contextlib.suppress(OSError, IndexError):
        for _ in range(_TIMES):
            with ExitStack() as stack:
                _play(simple, policy, stack)
    # A worker never lets go of itself: its process ends instead.
    gc.collect()


def _play(settings: LoginSettings, policy: Policy, stack: ExitStack) -> None:
    clients = _listen(stack, socket.AF_INET, (_HOST, 0))
    backends = _listen(stack, socket.AF_INET, (_HOST, 0))
    # The kernel chooses a name that nobody else has.
    auths = _listen(stack, socket.AF_UNIX, "")
    shares = Shares((os.fsdecode(auths.getsockname()),))
    place, port = clients.getsockname(), backends.getsockname()[1]
    log_fd = os.open(os.devnull, os.O_WRONLY)
    stack.callback(os.close, log_fd)
    worker = Worker(settings, [clients], [], None, None, SeenCertificates(), [shares], policy, log_fd=log_fd)
    master, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(master)
    worker.open(stack.enter_context(channel))
    stack.callback(worker.reactor.close)

    def turn() -> None:
        worker.reactor.run_once(_PATIENCE_S)

    turn()
    auth = _accept(stack, auths)
    # Mostly some backend lacks something, and then each worker works out what its client may be told.
    lacking = render_lacking(settings.protocol.encode(), [b"SORT", b"TOP"])
    auth.send(render_greeting([_MECHANISM], 1, 1, lacking))
    turn()
    client = stack.enter_context(socket.create_connection(place, _PATIENCE_S))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    turn()
    if [one.client.rport for one in worker.sessions] != [client.getsockname()[1]]:
        raise ConnectionError("somebody else came between: of him nothing is read in the master")
    if settings.protocol == "pop3":
        client.send(b"USER rehearsal\r\n")
        turn()
    client.send({"imap": b"a LOGIN rehearsal none\r\n", "pop3": b"PASS none\r\n"}[settings.protocol])
    turn()
    auth.send(b"OK\t1\tuser=rehearsal\tproxy\thost=%s\tport=%d\tpass=none\n" % (_HOST.encode(), port))
    turn()
    backend = _accept(stack, backends)
    backend.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    backend.send({"imap": b"* OK\r\n", "pop3": b"+OK\r\n"}[settings.protocol])
    turn()
    for _ in range({"imap": 1, "pop3": 2}[settings.protocol]):
        tag = backend.recv(_READ_BYTES).split()[0]
        backend.send({"imap": tag + b" OK\r\n", "pop3": b"+OK\r\n"}[settings.protocol])
        turn()
    for sender, receiver in ((client, backend), (backend, client)):
        sender.send(b"some bytes\r\n")
        turn()
        receiver.recv(_READ_BYTES)
    for leaving in (client, backend):
        leaving.close()
        turn()


def _listen(stack: ExitStack, family: int, address: tuple[str, int] | str) -> socket.socket:
    sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    sock.bind(address)
    sock.listen(1)
    sock.setblocking(False)
    return sock


def _accept(stack: ExitStack, listener: socket.socket) -> socket.socket:
    sock = stack.enter_context(listener.accept()[0])
    sock.settimeout(_PATIENCE_S)
    return sock
