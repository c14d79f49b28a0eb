"""Waiting for what can be watched, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(message: str, condition: Callable[[], T], timeout_s: float = 30.0) -> T:
    """Return the first true value of `condition`; fails with `message` when the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {message}")
        time.sleep(0.01)
