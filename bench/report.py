"""Samples as a table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.scenes import Sample

UNITS = {
    "login": ("µs CPU / login", 1e6),
    "round trip": ("µs CPU / round trip", 1e6),
    "GiB": ("ms CPU / GiB", 1e3),
    "session": ("KiB / session", 1.0),
}
"""How the cost of a unit is written, and what it is multiplied by."""

HEADER = ("what", "proxy", "cost", "", "a second", "p50 ms", "p99 ms", "failed")


def medians(samples: Iterable[Sample]) -> list[Sample]:
    """Return for each scene and proxy the sample with the median cost (of rates, where no cost is known)."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.scene, sample.target), []).append(sample)
    return [_median(group) for group in groups.values()]


def _median(group: list[Sample]) -> Sample:
    def key(sample: Sample) -> float:
        return -sample.per_s if sample.cost is None else sample.cost

    middle = statistics.median_low([key(sample) for sample in group])
    return next(sample for sample in group if key(sample) == middle)


def rows(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    """Return the cells of the table, scenes in their order, each proxy's figure beside the others'."""
    scenes = list(dict.fromkeys(sample.scene for sample in samples))
    ordered = sorted(samples, key=lambda sample: scenes.index(sample.scene))
    return [_row(sample) for sample in ordered]


def _row(sample: Sample) -> tuple[str, ...]:
    label, factor = UNITS[sample.unit]
    cost = "-" if sample.cost is None else figure(sample.cost * factor)
    latencies = [f"{s * 1000:.2f}" if s else "-" for s in (sample.p50_s, sample.p99_s)]
    failed = str(sample.failures) if sample.failures else "-"
    return (sample.scene, sample.target, cost, label, figure(sample.per_s), *latencies, failed)


def figure(value: float) -> str:
    """Write a number with three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def as_text(cells: Sequence[tuple[str, ...]], header: tuple[str, ...] = HEADER) -> str:
    """Return a table for a terminal."""
    widths = [max(len(row[column]) for row in (header, *cells)) for column in range(len(header))]
    lines = []
    for row in (header, *cells):
        words = [
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(words).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).isdigit()


def as_markdown(cells: Sequence[tuple[str, ...]], header: tuple[str, ...] = HEADER) -> str:
    """Return a table for a document."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, *cells)]
    lines.insert(1, "|" + "---|" * len(header))
    return "\n".join(lines)


def plot(samples: Sequence[Sample], folder: Path, name: str, title: str) -> list[Path]:
    """Draw a bar for each cost, a panel for each scene, as PNG and SVG. Raises ImportError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    known = [sample for sample in samples if sample.cost is not None]
    scenes = list(dict.fromkeys(sample.scene for sample in known))
    targets = list(dict.fromkeys(sample.target for sample in known))
    figure_, axes = pyplot.subplots(1, len(scenes), figsize=(2.4 * len(scenes) + 1, 3.6), squeeze=False)
    for axis, scene in zip(axes[0], scenes, strict=True):
        of_scene = {sample.target: sample for sample in known if sample.scene == scene}
        label, factor = UNITS[next(iter(of_scene.values())).unit]
        shown = [target for target in targets if target in of_scene]
        heights = [(of_scene[target].cost or 0.0) * factor for target in shown]
        colours = [f"C{targets.index(target)}" for target in shown]
        bars = axis.bar(range(len(shown)), heights, color=colours, label=shown)
        axis.bar_label(bars, [figure(height) for height in heights], fontsize=7)
        axis.set_title(scene, fontsize=9)
        axis.set_ylabel(label, fontsize=8)
        axis.set_xticks([])
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(y=0.15)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=f"C{number}") for number in range(len(targets))]
    figure_.legend(handles, targets, loc="lower center", ncols=len(targets), fontsize=8, frameon=False)
    figure_.suptitle(title, fontsize=9)
    figure_.tight_layout(rect=(0, 0.08, 1, 1))
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    for path in paths:
        figure_.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure_)
    return paths
