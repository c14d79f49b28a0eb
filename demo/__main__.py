"""A proxy with two small backends, for trying: `make run`. Ctrl-C ends everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from demo.accounts import ACCOUNTS, BACKENDS, HOST, IMAP_PORT, POP3_PORT, STATE, Backend
from demo.files import CONFIGURATION, PID_FILE, write_all

STOP_S = 10.0
PYMAP = str(Path(sys.executable).with_name("pymap"))

PROXY = "mailproxy"

Servers = dict[str, subprocess.Popen[bytes]]


def _start(*command: str, log: str = "") -> subprocess.Popen[bytes]:
    """Start a server in a process group of its own: Ctrl-C is ours to pass on, in order."""
    if not log:
        return subprocess.Popen(command, start_new_session=True)
    with (STATE / log).open("wb") as output:
        return subprocess.Popen(command, start_new_session=True, stdout=output, stderr=output)


def _start_backend(backend: Backend) -> Servers:
    listen = ("--host", HOST, "--port", str(backend.imap_port), "--no-tls")
    imap, pop3 = f"imap-{backend.name}", f"pop3-{backend.name}"
    return {
        imap: _start(PYMAP, *listen, "maildir", str(backend.folder), log=f"{imap}.log"),
        pop3: _start(sys.executable, "-m", "demo.pop3_backend", backend.name, log=f"{pop3}.log"),
    }


def _later_master(servers: Servers) -> int:
    """Return the pid of the proxy that took over by an upgrade, 0 if none: it is no child of ours."""
    try:
        pid = int(PID_FILE.read_text().split()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return 0
    return pid if pid != servers[PROXY].pid else 0


def _stop(servers: Servers) -> None:
    """End the servers, the one started last first."""
    if PROXY in servers and _later_master(servers):
        command = (sys.executable, "-m", "mailproxy.ctl", "-c", str(CONFIGURATION), "stop")
        subprocess.run(command, start_new_session=True, check=False)
    for server in reversed(servers.values()):
        server.terminate()
    for server in reversed(servers.values()):
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _instructions() -> str:
    lines = ["", f"The proxy: IMAP on {HOST}:{IMAP_PORT}, POP3 on {HOST}:{POP3_PORT}. Users:"]
    for account in ACCOUNTS:
        known = f", known there as {account.destuser}" if account.destuser else ""
        lines.append(f"  {account.user}, password {account.password}, backend {account.backend.name}{known}")
    john, joe = ACCOUNTS[0], ACCOUNTS[1]
    lines += [
        "Try in another terminal:",
        f"  curl --user {john.user}:{john.password} 'imap://{HOST}:{IMAP_PORT}/INBOX;MAILINDEX=1'",
        f"  curl --user {joe.user}:{joe.password} pop3://{HOST}:{POP3_PORT}/1",
        f"  telnet {HOST} {IMAP_PORT}        and type:  a login {joe.user} {joe.password}",
        f"  python3 -c \"import imaplib; m = imaplib.IMAP4('{HOST}', {IMAP_PORT}); "
        f"print(m.login('{john.user}', '{john.password}'), m.select())\"",
        f"Its configuration is {CONFIGURATION}; its log follows. Ctrl-C ends everything.",
        "",
    ]
    return "\n".join(lines)


def _serve(servers: Servers) -> int:
    """Start everything into `servers`; return 1 when one of them has ended by itself."""
    for backend in BACKENDS:
        servers.update(_start_backend(backend))
    servers[PROXY] = _start(sys.executable, "-m", "mailproxy.cli", "-F", "-c", str(CONFIGURATION))
    print(_instructions(), flush=True)
    while True:
        for name, server in servers.items():
            if server.poll() is not None and not (name == PROXY and _later_master(servers)):
                print(f"{name} has ended with status {server.returncode}; see {STATE}", file=sys.stderr)
                return 1
        time.sleep(0.5)


def main() -> int:
    """Run until Ctrl-C, SIGTERM, or the end of one of the servers."""
    # SIGTERM takes the way of Ctrl-C.
    # A shell that starts it in the background has Ctrl-C ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    write_all()
    servers: Servers = {}
    try:
        return _serve(servers)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _stop(servers)


if __name__ == "__main__":
    raise SystemExit(main())
