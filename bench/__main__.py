"""`make bench`: what mailproxy costs for a login, a round trip, a GiB and an idle session.

Everything stays on loopback but a peer that is named, and ends by itself: a couple of minutes by default.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from bench import proxies, report, scenes
from bench.children import raise_file_limit
from bench.crowd import Crowd
from bench.scenes import Sample
from bench.sink import Sink
from bench.target import Target, Tree

ROOT = Path(__file__).resolve().parent.parent
USERS = 1000
# In the mode of a process for each connection, enough that clients never wait for a fork.
_SPARE = 64


def machine() -> str:
    """Say what is measured on, and how busy it is with other things."""
    return (
        f"{time.strftime('%d %B %Y')}, {os.cpu_count()} cores {platform.machine()},"
        f" Linux {platform.release().split('-')[0]}, Python {platform.python_version()},"
        f" load average {os.getloadavg()[0]:.1f} before"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--repeats", type=int, default=1, help="medians are shown; proxies take turns")
    parser.add_argument("--sessions", type=int, default=8000, help="idle ones for the measurement of memory")
    parser.add_argument("--clients", type=int, default=1, help="processes that play clients")
    parser.add_argument("--dovecot", action="store_true", help="measure the system's Dovecot 2.3 too (root)")
    parser.add_argument("--peer", default="", help="HOST:PORT of another proxy's IMAP")
    parser.add_argument("--peer-pop3", type=int, default=0, help="its port for POP3")
    parser.add_argument("--peer-pid", type=int, default=0, help="its first process, for CPU and memory")
    parser.add_argument("--backend-imap", type=int, default=0, help="fixed port of the backend, for a peer")
    parser.add_argument("--backend-pop3", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder for the results")
    return parser.parse_args()


def _targets(arguments: argparse.Namespace, folder: Path, sink: Sink) -> list[Target]:
    """Start what is to be measured. What was started before an error is closed."""
    sql = proxies.fill_sqlite(folder / "users.sqlite", sink, USERS)
    with contextlib.ExitStack() as stack:
        found: list[Target] = []

        def add(target: Target) -> None:
            stack.callback(target.close)
            found.append(target)

        add(proxies.start_mailproxy("mailproxy, shared", folder / "shared", sql))
        add(
            proxies.start_mailproxy(
                "mailproxy, own", folder / "own", sql, per_connection=True, workers=_SPARE
            )
        )
        if arguments.dovecot:
            add(proxies.start_dovecot("Dovecot, shared", folder / "d-shared", sql))
            add(proxies.start_dovecot("Dovecot, own", folder / "d-own", sql, per_connection=True))
        if arguments.peer:
            host, _, port = arguments.peer.rpartition(":")
            peer = Target(arguments.peer, int(port), arguments.peer_pop3, host)
            peer.tree = Tree(arguments.peer_pid) if arguments.peer_pid else None
            found.append(peer)
        stack.pop_all()
        return found


def _measure(arguments: argparse.Namespace, crowd: Crowd, target: Target, is_fresh: bool) -> list[Sample]:
    seconds = arguments.seconds
    found = []
    if is_fresh and target.tree is not None:
        # First of all: logins leave processes behind, and those that are there cost no session anything more.
        found.append(scenes.idle(crowd, target, USERS, arguments.sessions))
    found.append(scenes.logins(crowd, target, "imap", USERS, seconds))
    if target.pop3_port:
        found.append(scenes.logins(crowd, target, "pop3", USERS, seconds))
    found.append(scenes.round_trips(crowd, target, USERS, seconds))
    found.append(scenes.bulk(crowd, target, USERS, seconds, upload=False))
    found.append(scenes.bulk(crowd, target, USERS, seconds, upload=True))
    return found


def main() -> None:
    """Measure, print, draw."""
    arguments = _arguments()
    # Each session is a socket of a client here, and two of a proxy.
    arguments.sessions = min(arguments.sessions, raise_file_limit() // 2 - 200)
    os.chdir(ROOT)
    where = machine()
    samples: list[Sample] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailproxy-bench-")))
        folder.chmod(0o755)
        sink = Sink(arguments.clients, arguments.backend_imap, arguments.backend_pop3)
        stack.callback(sink.close)
        targets = _targets(arguments, folder, sink)
        for target in targets:
            stack.callback(target.close)
        crowd = Crowd(arguments.clients)
        stack.callback(crowd.close)
        for repeat in range(arguments.repeats):
            turn = repeat % len(targets)
            for target in targets[turn:] + targets[:turn]:
                print(f"measuring {target.name}, {repeat + 1} of {arguments.repeats}", flush=True)
                samples += _measure(arguments, crowd, target, repeat == 0)
    _show(where, samples, arguments.out)


def _show(where: str, samples: list[Sample], folder: Path) -> None:
    shown = report.medians(samples)
    folder.mkdir(parents=True, exist_ok=True)
    title = f"mailproxy, {where}"
    cells = report.rows(shown)
    print(f"\n{title}\n\n{report.as_text(cells)}\n")
    (folder / "bench.md").write_text(f"{title}\n\n{report.as_markdown(cells)}\n")
    results = {"machine": where, "samples": [sample._asdict() for sample in samples]}
    (folder / "bench.json").write_text(json.dumps(results, indent=1))
    try:
        paths = report.plot(shown, folder, "bench", title)
    except ImportError:
        print("No plot: matplotlib is not installed (pip install '.[bench]').")
    else:
        print("Plot:", *paths)


if __name__ == "__main__":
    main()
