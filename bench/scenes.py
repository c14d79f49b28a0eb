"""What is measured: the work, and what it cost the proxy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from bench.crowd import Client, Crowd, Place, Result
from bench.target import Target

_AT_A_TIME = 32
_ASKING = 50
_BULK_MIB = 64
_SETTLE_S = 0.5
# After the last answer a proxy still closes sockets and writes its log.
_TAIL_S = 0.3


class Sample(NamedTuple):
    """One scene with one proxy. Times without a unit in the name are seconds."""

    scene: str
    target: str
    unit: str
    units: float
    failures: int
    elapsed_s: float
    cpu_s: float | None
    p50_s: float
    p99_s: float

    @property
    def per_s(self) -> float:
        """Units in a second."""
        return self.units / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def cost(self) -> float | None:
        """CPU seconds for a unit; KiB of memory where the unit is an idle session."""
        if self.cpu_s is None or not self.units:
            return None
        return self.cpu_s / self.units


def percentile(ordered: list[float], share: float) -> float:
    """Return the value that this share of an ordered list does not exceed; 0 of an empty list."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def measured(scene: str, unit: str, target: Target, work: Callable[[], Result]) -> Sample:
    """Do the work and take the proxy's CPU time of it."""
    before = target.tree.cpu_s() if target.tree else 0.0
    start = time.monotonic()
    result = work()
    elapsed_s = time.monotonic() - start
    time.sleep(_TAIL_S)
    cpu_s = target.tree.cpu_s() - before if target.tree else None
    ordered = result.latencies_s
    return Sample(
        scene,
        target.name,
        unit,
        result.units,
        result.failures,
        elapsed_s,
        cpu_s,
        percentile(ordered, 0.5),
        percentile(ordered, 0.99),
    )


def place(target: Target, protocol: str, users: int) -> Place:
    """Where the crowd logs in."""
    port = target.imap_port if protocol == "imap" else target.pop3_port
    return Place(target.host, port, protocol, users)


def logins(crowd: Crowd, target: Target, protocol: str, users: int, seconds: float) -> Sample:
    """Log in and out, 32 at a time, when every user is in the cache."""
    at = place(target, protocol, users)
    each = max(1, _AT_A_TIME // crowd.processes)
    crowd.do(Client.logins, at, seconds / 3, each)
    name = f"{protocol.upper()} login"
    return measured(name, "login", target, lambda: crowd.do(Client.logins, at, seconds, each))


def round_trips(crowd: Crowd, target: Target, users: int, seconds: float) -> Sample:
    """NOOP and its answer, in 50 sessions at a time."""
    each = max(1, _ASKING // crowd.processes)
    crowd.do(Client.stay, place(target, "imap", users), each)
    time.sleep(_SETTLE_S)
    sample = measured("round trip", "round trip", target, lambda: crowd.do(Client.ask, seconds, each))
    crowd.do(Client.leave)
    return sample


def bulk(crowd: Crowd, target: Target, users: int, seconds: float, *, upload: bool) -> Sample:
    """A stream one way, in one session of each client."""
    crowd.do(Client.stay, place(target, "imap", users), 1)
    time.sleep(_SETTLE_S)
    name, command = ("upload", Client.upload) if upload else ("download", Client.download)
    sample = measured(name, "GiB", target, lambda: crowd.do(command, seconds, _BULK_MIB))
    crowd.do(Client.leave)
    return sample


def idle(crowd: Crowd, target: Target, users: int, sessions: int) -> Sample:
    """Memory of open sessions: what the proxy grows by when more come; `cpu_s` is KiB here."""
    assert target.tree is not None
    each = max(1, min(sessions, target.most_sessions) // crowd.processes)
    at = place(target, "imap", users)
    # What the first sessions make once and for all is no session's, so they are there already.
    first = crowd.do(Client.stay, at, each // 5)
    time.sleep(_SETTLE_S)
    before = target.tree.pss_kib()
    start = time.monotonic()
    result = crowd.do(Client.stay, at, each)
    elapsed_s = time.monotonic() - start
    time.sleep(_SETTLE_S)
    kib = target.tree.pss_kib() - before
    crowd.do(Client.leave)
    units, failures = result.units - first.units, result.failures
    return Sample("idle session", target.name, "session", units, failures, elapsed_s, kib, 0, 0)
