"""How costs grow with sessions, users, the cache, workers and auth processes: `python -m bench.scaling`.

As root, and with what `make test` installs, it takes about ten minutes; parts can be named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench import proxies, scenes
from bench.auth_load import ask_all
from bench.children import raise_file_limit
from bench.crowd import Client, Crowd
from bench.report import as_text, figure
from bench.sink import Sink
from bench.target import Started

Rows = list[tuple[str, ...]]
_USERS = 1000
_ACTIVE = 8
_REPEATS = 3
_ASKED = 20000
_HOT = 1000
_PATIENCE_S = 60.0
_CACHE_KIB = 102400


class Stage(NamedTuple):
    """What all parts need."""

    folder: Path
    sink: Sink
    crowd: Crowd
    seconds: float

    @contextlib.contextmanager
    def proxy(self, sql: str = "", *, dovecot: bool = False, **options: Any) -> Iterator[Started]:
        """Run a proxy over a small database, or the one that `sql` leads to."""
        sql = sql or self.database(_USERS)
        folder = Path(tempfile.mkdtemp(dir=self.folder)) / "proxy"
        folder.parent.chmod(0o755)
        start = proxies.start_dovecot if dovecot else proxies.start_mailproxy
        target = start("proxy", folder, sql, **options)
        try:
            yield target
        finally:
            target.close()

    def database(self, users: int) -> str:
        """Make an SQLite file with so many users, once; returns how it is reached."""
        path = self.folder / f"{users}.sqlite"
        if path.exists():
            return f"driver = sqlite\nconnect = {path}\n"
        return proxies.fill_sqlite(path, self.sink, users)


def sessions(stage: Stage) -> Rows:
    """CPU of a login and a round trip with many other sessions open."""
    most = raise_file_limit() // 2 - 500
    cells: Rows = []
    for workers in (1, 4):
        with stage.proxy(workers=workers) as target:
            at = scenes.place(target, "imap", _USERS)
            stage.crowd.do(Client.logins, at, stage.seconds, _ACTIVE)
            for count in dict.fromkeys(min(count, most) for count in (10, 100, 1000, 10000)):
                stage.crowd.do(Client.stay, at, count // stage.crowd.processes)
                time.sleep(1.0)
                login, ask = [], []
                for _ in range(_REPEATS):
                    login.append(_login_cost(stage, target))
                    ask.append(_ask_cost(stage, target))
                cells.append((str(workers), f"{count:,}", _us(login), _us(ask)))
            stage.crowd.do(Client.leave)
    return cells


def _login_cost(stage: Stage, target: Started) -> float:
    at = scenes.place(target, "imap", _USERS)
    sample = scenes.measured(
        "", "login", target, lambda: stage.crowd.do(Client.logins, at, stage.seconds, _ACTIVE)
    )
    return sample.cost or 0.0


def _ask_cost(stage: Stage, target: Started) -> float:
    sample = scenes.measured(
        "", "round trip", target, lambda: stage.crowd.do(Client.ask, stage.seconds, _ACTIVE)
    )
    return sample.cost or 0.0


def _us(costs: list[float]) -> str:
    return figure(statistics.median(costs) * 1e6)


def _auth_cost(
    target: Started, users: list[int], *, count: int = 1, workers: int = 1, dovecot: bool = False
) -> float:
    """Return CPU seconds of the whole proxy for a request at its auth socket."""
    assert target.tree is not None
    login_dir = target.folder / "base" / "login"
    names = ["login"] if dovecot else ["default", *(f"default.{n}" for n in range(2, count + 1))]
    before = target.tree.cpu_s()
    total = ask_all([login_dir / name for name in names], users, workers)
    return (target.tree.cpu_s() - before) / total


def _spread(users: int, asked: int) -> list[int]:
    """Users in an order that no cache or page of a database likes."""
    return [number * 7919 % users for number in range(asked)]


def users(stage: Stage) -> Rows:
    """CPU of a hit and of a miss with few and many users in SQLite, beside Dovecot's."""
    cells: Rows = []
    for count in (10, 1000, 1000000):
        sql = stage.database(count)
        hot = _spread(min(count, _HOT), _ASKED)
        row = [f"{count:,}"]
        for dovecot in (False, True) if proxies.has_dovecot() else (False,):
            with stage.proxy(sql, dovecot=dovecot) as target:
                ask_all_warm = hot[: min(count, _HOT)]
                _auth_cost(target, ask_all_warm, dovecot=dovecot)
                row.append(_us([_auth_cost(target, hot, dovecot=dovecot) for _ in range(_REPEATS)]))
            row.append(_miss(stage, sql, count, dovecot))
        cells.append(tuple(row))
    return cells


def _miss(stage: Stage, sql: str, count: int, dovecot: bool) -> str:
    asked = _spread(count, _ASKED // 4)
    with stage.proxy(sql, dovecot=dovecot, cache_kib=0) as target:
        _auth_cost(target, asked[:500], dovecot=dovecot)
        return _us([_auth_cost(target, asked, dovecot=dovecot) for _ in range(_REPEATS)])


def databases(stage: Stage) -> Rows:
    """CPU of a miss with each kind of database; that of the database itself is not counted."""
    from tests.harness.databases import MariaDb, PostgreSql, Server

    cells: Rows = [("SQLite", *_misses(stage, stage.database(_USERS)))]
    kinds: tuple[tuple[str, str, type[Server]], ...] = (
        ("MariaDB", "mysql", MariaDb),
        ("PostgreSQL", "pgsql", PostgreSql),
    )
    for name, driver, kind in kinds:
        if kind.program() is None:
            continue
        with kind() as server:
            server.execute(proxies.TABLE)
            rows = proxies.rows(stage.sink, _USERS)
            values = ",".join(f"('{u}','{h}','{d}',{i},{p})" for u, h, d, i, p in rows)
            server.execute(f"INSERT INTO proxy VALUES {values}")
            sql = f"driver = {driver}\nconnect = {server.connect_string}\n"
            cells.append((name, *_misses(stage, sql)))
    return cells


def _misses(stage: Stage, sql: str) -> list[str]:
    found = [_miss(stage, sql, _USERS, dovecot=False)]
    with contextlib.suppress(OSError, RuntimeError):
        found += [_miss(stage, sql, _USERS, dovecot=True)] if proxies.has_dovecot() else []
    return found if len(found) == 2 else [*found, "-"]


def cache(stage: Stage) -> Rows:
    """CPU of a hit in a small cache and in one of 100 MiB that is full."""
    sql = stage.database(1000000)
    cells: Rows = []
    for count in (_HOT, 250000):
        with stage.proxy(sql, cache_kib=_CACHE_KIB) as target:
            _auth_cost(target, list(range(count)))
            # The youngest are all there, whatever had to go.
            kept = list(range(count - _HOT, count)) if count == _HOT else list(range(count - 60000, count))
            asked = (kept * (_ASKED // len(kept) + 1))[: max(_ASKED, len(kept))]
            assert target.tree is not None
            cost = _us([_auth_cost(target, asked) for _ in range(_REPEATS)])
            auth = max(process.memory_info().rss for process in target.tree.processes())
            cells.append((f"{count:,}", f"{len(kept):,}", figure(auth / 2**20), cost))
    return cells


def start(stage: Stage) -> Rows:
    """Time and CPU until all workers are there, at the start and after SIGHUP."""
    cells: Rows = []
    for workers in (1, 8, 64):
        begun = time.monotonic()
        with stage.proxy(workers=workers) as target:
            assert target.tree is not None
            expected = 2 * workers
            _wait(lambda t=target, n=expected: len(_ready_workers(t)) == n)  # type: ignore[misc]
            start_s, start_cpu_s = time.monotonic() - begun, target.tree.cpu_s()
            old = _ready_workers(target)
            before, begun = target.tree.cpu_s(), time.monotonic()
            target.tree.root.send_signal(signal.SIGHUP)
            _wait(lambda t=target, o=old, n=expected: len(_ready_workers(t) - o) == n and not _all(t) & o)  # type: ignore[misc]
            reload_s, reload_cpu_s = time.monotonic() - begun, target.tree.cpu_s() - before
        seconds = (start_s, start_cpu_s, reload_s, reload_cpu_s)
        cells.append((str(workers), *(f"{value * 1000:,.0f}" for value in seconds)))
    return cells


def _all(target: Started) -> set[int]:
    assert target.tree is not None
    return {process.pid for process in target.tree.processes()}


def _ready_workers(target: Started) -> set[int]:
    """Workers that listen: they have changed to their folder and user, and wait for events."""
    assert target.tree is not None
    found = set()
    for process in target.tree.root.children():
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            waits = Path(f"/proc/{process.pid}/wchan").read_text() if os.geteuid() == 0 else "ep_poll"
            if b"-login" in title and "poll" in waits:
                found.add(process.pid)
    return found


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("workers do not come")
        time.sleep(0.005)


def auth(stage: Stage) -> Rows:
    """CPU of a cached login in auth with one and several processes, and what they could do at the most."""
    cells: Rows = []
    hot = _spread(_USERS, 2 * _ASKED)
    for count in (1, 2, 4):
        with stage.proxy(auth_count=count) as target:
            _auth_cost(target, hot[:_USERS], count=count)
            one = [_auth_cost(target, hot, count=count) for _ in range(_REPEATS)]
            many = [_auth_cost(target, hot, count=count, workers=32) for _ in range(_REPEATS)]
            whole = [_login_cost(stage, target) for _ in range(_REPEATS)]
        most = count / statistics.median(many)
        cells.append((str(count), _us(one), _us(many), f"{most:,.0f}", _us(whole)))
    return cells


PARTS: dict[str, tuple[Callable[[Stage], Rows], tuple[str, ...]]] = {
    "sessions": (sessions, ("workers", "open sessions", "µs CPU / login", "µs CPU / round trip")),
    "users": (users, ("users", "hit µs", "miss µs", "Dovecot hit µs", "Dovecot miss µs")),
    "databases": (databases, ("database", "miss µs", "Dovecot miss µs")),
    "cache": (cache, ("logged in once", "asked again", "auth RSS MiB", "hit µs")),
    "start": (start, ("workers of each protocol", "start ms", "CPU ms", "reload ms", "CPU ms")),
    "auth": (
        auth,
        (
            *("count", "asked by 1 worker, µs", "by 32 workers, µs"),
            *("logins/s with a core for each", "whole login, µs"),
        ),
    ),
}
"""What is measured, and the columns of its table."""


def main() -> None:
    """Measure the named parts, or all; results go to `build/bench/scaling.json`, part by part."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--out", type=Path, default=Path("build/bench/scaling.json"))
    arguments = parser.parse_args()
    raise_file_limit()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailproxy-bench-")))
        folder.chmod(0o755)
        sink = Sink(1)
        stack.callback(sink.close)
        crowd = Crowd(1)
        stack.callback(crowd.close)
        stage = Stage(folder, sink, crowd, arguments.seconds)
        for name in arguments.parts or PARTS:
            part, header = PARTS[name]
            results[name] = [header, *part(stage)]
            print(f"\n{(part.__doc__ or '').strip()}\n\n{as_text(results[name][1:], header)}", flush=True)
            arguments.out.write_text(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
