"""Writes what was measured into docs/performance.md: `python -m bench.document`.

The text is written by hand; tables stand between `<!-- begin NAME -->` and `<!-- end -->`, and each is made
anew from the results in `build/bench` that are there. Nothing is in a table that was not measured.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import textwrap
from collections import Counter

from bench.__main__ import ROOT
from bench.report import as_markdown, figure, medians, plot, rows
from bench.scaling import PARTS
from bench.scenes import Sample

DOCUMENT = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "build" / "bench"
_CAPACITY = ("work", "cost", "one core carries")


def filled(text: str, blocks: dict[str, str]) -> str:
    """Return the text with these blocks in their places. Raises KeyError for a block without a place."""
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise KeyError(f"{name} has {count} places in {DOCUMENT.name}")
    return text


def capacity(samples: list[Sample]) -> list[tuple[str, ...]]:
    """Say what one busy core carries of each kind of work, and what sessions need in memory."""
    cells: list[tuple[str, ...]] = []
    for sample in samples:
        if sample.cost is None:
            continue
        if sample.unit == "session":
            gib = sample.cost * 100000 / 2**20
            cells.append(
                (
                    f"{sample.scene}, {sample.target}",
                    f"{figure(sample.cost)} KiB",
                    f"{figure(gib)} GiB for 100,000",
                )
            )
        else:
            cost = f"{figure(sample.cost * 1e6)} µs" if sample.unit != "GiB" else f"{figure(sample.cost)} s"
            rate = f"{figure(1 / sample.cost)} a second"
            if sample.unit == "GiB":
                rate = f"{figure(8 * 2**30 / 1e9 / sample.cost)} Gbit/s"
            cells.append((f"{sample.scene}, {sample.target}", cost, rate))
    return cells


def cores(login_s: float, auth_s: float, count: int = 32) -> str:
    """Say what so many cores do when each is busy, and how many of them authentication needs."""
    needed = round(count * auth_s / login_s, 3)
    text = (
        f"a login of {figure(login_s * 1e6)} µs, of which authentication has {figure(auth_s * 1e6)} µs,"
        f" comes to {figure(count / login_s)} logins a second on {count} cores; authentication needs"
        f" {needed:.1f} of them: `auth_count = {math.ceil(needed)}`. One process has a core for itself"
        f" from {login_s / auth_s:.0f} cores on."
    )
    return textwrap.fill(text, 117)


def main() -> None:
    """Fill the document and draw its plot."""
    blocks = {}
    results = RESULTS / "bench.json"
    if results.exists():
        found = json.loads(results.read_text())
        every = [Sample(**sample) for sample in found["samples"]]
        samples = medians(every)
        # Memory is measured once, whatever the rest is.
        repeats = max(Counter((sample.scene, sample.target) for sample in every).values())
        often = "one run" if repeats == 1 else f"medians of {repeats} runs"
        blocks["machine"] = textwrap.fill(f"Measured {found['machine']}; {often}.", 117)
        blocks["costs"] = as_markdown(rows(samples))
        ours = [sample for sample in samples if sample.target.startswith("mailproxy")]
        blocks["capacity"] = as_markdown(capacity(ours), _CAPACITY)
        for path in plot(samples, RESULTS, "bench", f"mailproxy, {found['machine']}"):
            shutil.copy(path, DOCUMENT.parent / f"performance{path.suffix}")
    scaling = RESULTS / "scaling.json"
    if scaling.exists():
        measured = json.loads(scaling.read_text())
        if "auth" in measured:
            # The first row is `count = 1`: asked by 32 workers, and the whole login.
            _, _, auth_us, _, login_us = measured["auth"][1]
            blocks["cores"] = cores(float(login_us.replace(",", "")) / 1e6, float(auth_us) / 1e6)
        for name, (header, *cells) in measured.items():
            if name in PARTS:
                blocks[name] = as_markdown([tuple(row) for row in cells], tuple(header))
    floor = RESULTS / "floor.json"
    if floor.exists():
        found = json.loads(floor.read_text())
        header, *cells = [tuple(row) for row in found["cells"]]
        blocks["floor"] = f"{textwrap.fill(found['where'], 117)}\n\n{as_markdown(cells, header)}"
    DOCUMENT.write_text(filled(DOCUMENT.read_text(), blocks))


if __name__ == "__main__":
    main()
