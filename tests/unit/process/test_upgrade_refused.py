"""Who can never be replaced by another process."""

from __future__ import annotations

from mailproxy.process.upgrade import why_impossible


def test_process_1_of_a_container_is_not_replaced() -> None:
    """Its end is that of the container, with every session in it."""
    assert "start a new container" in why_impossible(1)
    assert why_impossible(2) == ""
