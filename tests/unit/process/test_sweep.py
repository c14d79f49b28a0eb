"""A sweep of freed memory takes what is free, and not much more."""

from __future__ import annotations

import subprocess
import sys

SWEEPS = """
import random
from mailproxy.process.scrub import sweep

def kib(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

random.seed(3)
sweep(is_first=True)
begin_kib, live = kib("VmRSS:"), []
for _ in range(150):
    for _ in range(random.randrange(40)):
        live.append(([random.random()] * random.randrange(20), {1: [2], 3: []}, bytearray(300)))
    random.shuffle(live)
    del live[20:]
    sweep()
print(kib("VmHWM:") - begin_kib)
"""
LIMIT_KIB = 12 << 10


def test_sweeps_do_not_enlarge_a_process() -> None:
    """Some of them used to go on up to their limit of 64 MiB, of which 14 stayed."""
    done = subprocess.run(
        [sys.executable, "-c", SWEEPS], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < LIMIT_KIB
