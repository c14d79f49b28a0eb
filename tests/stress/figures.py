"""What was asked and what was measured, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """A line of the table."""

    scenario: str
    mode: str
    asked: str
    measured: str
    holds: bool


class Figures:
    """Those of one scenario in one mode; `verify` at its end, so that all are there when one is missed."""

    every: list[Figure] = []
    """Of this run of the tests."""

    def __init__(self, scenario: str, mode: str) -> None:
        self._scenario = scenario
        self._mode = mode
        self._mine: list[Figure] = []

    def note(self, asked: str, measured: object, holds: bool = True) -> None:
        """Add a line."""
        figure = Figure(self._scenario, self._mode, asked, str(measured), holds)
        self._mine.append(figure)
        self.every.append(figure)

    def none(self, what: str, found: Sequence[object], of: int | None = None) -> None:
        """Add a line about something of which there must be none."""
        among = f" of {of:,}" if of is not None else ""
        examples = ": " + "; ".join(sorted({str(one) for one in found})[:5]) if found else ""
        self.note(f"{what}: 0", f"{len(found)}{among}{examples}", not found)

    def below(self, what: str, limit_s: float, found_s: float) -> None:
        """Add a line about a time."""
        self.note(f"{what} < {limit_s:g} s", f"{found_s:.3f} s", found_s < limit_s)

    def verify(self) -> None:
        """Fail when a line does not hold."""
        missed = [f"{figure.asked}; measured {figure.measured}" for figure in self._mine if not figure.holds]
        assert not missed, "\n".join([f"{self._scenario}, {self._mode}:", *missed])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of all lies, the largest of few; infinite without values."""
    if not values:
        return math.inf
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return what y grows by for each x, by least squares."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table for a document."""
    lines = ["| scenario | mode | asked | measured |", "|---|---|---|---|"]
    for one in figures:
        missed = "" if one.holds else "**missed**: "
        lines.append(f"| {one.scenario} | {one.mode} | {one.asked} | {missed}{one.measured} |")
    return "\n".join(lines) + "\n"


def plain(figures: Sequence[Figure]) -> str:
    """Return the table for a terminal."""
    rows = [("scenario", "mode", "asked", "measured")]
    rows += [
        (f.scenario, f.mode, f.asked, f.measured if f.holds else f"MISSED: {f.measured}") for f in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    )
