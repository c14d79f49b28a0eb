"""How much of each: the short runs of `make test` and the long ones of `make stress`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Scale:
    """All numbers of a run. Asked times are multiplied by `patience` where the machine has other work."""

    name: str
    patience: float
    kills: int
    loops: int
    """Clients that log in again and again while somebody is killed."""
    renewals: int
    """Reloads, and as many upgrades."""
    idle_sessions: int
    busy_sessions: int
    connects: int
    ids: int
    """Of each kind, where workers are shared."""
    ids_own: int
    """In the mode of one process per connection."""
    tags: int
    """Logins, each with a tag of its own towards the backend."""
    master_kills: int
    ends: int
    """Rounds in which the master, or a child, is told to end when a reload has just begun."""
    slow_clients: int
    slow_clients_own: int
    """In the mode of one process per connection."""
    slow_a_second: float
    """How many come in that mode."""
    flood_s: float
    soak_s: float
    logins_a_second: float
    """Of the mixed traffic, in each process mode."""


SHORT = Scale(
    name="short",
    patience=5,
    kills=4,
    loops=5,
    renewals=2,
    idle_sessions=30,
    busy_sessions=5,
    connects=100,
    ids=10_000,
    ids_own=200,
    tags=100,
    master_kills=2,
    ends=5,
    slow_clients=400,
    slow_clients_own=100,
    slow_a_second=20,
    flood_s=2,
    soak_s=8,
    logins_a_second=20,
)

LONG = Scale(
    name="long",
    patience=1,
    kills=50,
    loops=20,
    renewals=20,
    idle_sessions=200,
    busy_sessions=20,
    connects=2000,
    ids=10_000,
    ids_own=10_000,
    tags=10_000,
    master_kills=20,
    ends=300,
    slow_clients=5000,
    slow_clients_own=5000,
    slow_a_second=80,
    flood_s=30,
    soak_s=60 * float(os.environ.get("MINUTES", "30")),
    logins_a_second=10,
)

SCALES = [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.stress)]
