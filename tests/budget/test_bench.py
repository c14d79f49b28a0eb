"""The benchmark runs, on a very small scale."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.harness.proxy import CHECKOUT


def test_the_benchmark_measures_both_modes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--seconds", "0.1", "--sessions", "20", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    samples = json.loads((tmp_path / "bench.json").read_text())["samples"]
    scenes = {"IMAP login", "POP3 login", "round trip", "download", "upload", "idle session"}
    for target in ("mailproxy, shared", "mailproxy, own"):
        of_target = [sample for sample in samples if sample["target"] == target]
        assert {sample["scene"] for sample in of_target} == scenes
        for sample in of_target:
            assert sample["failures"] == 0, sample
            assert sample["units"] > 0, sample
    assert "| IMAP login | mailproxy, own |" in (tmp_path / "bench.md").read_text()
    assert "Traceback" not in done.stderr
