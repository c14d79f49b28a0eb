"""Figures and their places in docs/performance.md."""

from __future__ import annotations

import re

import pytest

from bench.document import DOCUMENT, capacity, cores, filled
from bench.scaling import PARTS
from bench.scenes import Sample


def test_a_block_is_replaced_and_the_text_stays() -> None:
    text = "before\n<!-- begin x -->\nold\nold\n<!-- end -->\nbetween\n<!-- begin y -->\nb\n<!-- end -->\n"
    assert filled(text, {"x": "new"}) == text.replace("old\nold", "new")
    assert filled(text, {}) == text
    with pytest.raises(KeyError, match="z has 0 places"):
        filled(text, {"z": "new"})


def test_each_table_has_its_place() -> None:
    names = re.findall(r"<!-- begin (\w+) -->", DOCUMENT.read_text())
    assert sorted(names) == sorted({*PARTS, "machine", "costs", "capacity", "cores", "floor"})


def test_what_a_core_carries_is_the_reciprocal() -> None:
    def sample(scene: str, unit: str, units: float, cost: float) -> Sample:
        return Sample(scene, "mailproxy", unit, units, 0, 1.0, cost * units, 0, 0)

    cells = capacity(
        [
            sample("login", "login", 1000, 0.0002),
            sample("download", "GiB", 4, 0.5),
            sample("idle session", "session", 500, 2.0),
            sample("login", "login", 1000, 0.0)._replace(cpu_s=None),
        ]
    )
    assert cells == [
        ("login, mailproxy", "200 µs", "5,000 a second"),
        ("download, mailproxy", "0.50 s", "17.2 Gbit/s"),
        ("idle session, mailproxy", "2.00 KiB", "0.19 GiB for 100,000"),
    ]


def test_what_32_cores_need() -> None:
    text = " ".join(cores(0.000200, 0.000025).split())
    assert "a login of 200 µs, of which authentication has 25.0 µs, comes to 160,000 logins a second" in text
    assert "needs 4.0 of them: `auth_count = 4`. One process has a core for itself from 8 cores on." in text
    assert "`auth_count = 1`" in " ".join(cores(0.000300, 0.000005).split())
