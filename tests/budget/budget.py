"""What is wrong with a count of system calls, compared with its budget."""

from __future__ import annotations

Calls = dict[str, float]
"""System calls by name, for one unit of work."""

# What happens less often than this belongs to the start or the end of the counting, or to a timer.
_RARE = 0.15
_STEP = 0.5
# Below that, a sum is about log lines, which are written together or not as time goes by.
_LEAST_TO_TIGHTEN = 5


def complaints(budget: dict[str, Calls], counted: dict[str, Calls], slack: float) -> list[str]:
    """Say which process has outgrown its budget, and by which call; or that the budget is too generous.

    `slack` is the part of the budget by which a sum may differ, besides half a call.
    """
    found = []
    for kind in sorted(budget.keys() | counted.keys()):
        allowed, seen = budget.get(kind, {}), _without_rare(counted.get(kind, {}))
        limit, total = sum(allowed.values()), sum(seen.values())
        margin = limit * slack + _STEP
        grown = {
            name: n for name, n in sorted(seen.items()) if n > allowed.get(name, 0) * (1 + slack) + _STEP
        }
        if grown or total > limit + margin:
            grown = grown or {name: n for name, n in seen.items() if n > allowed.get(name, 0)}
            calls = ", ".join(f"{name} {n:g} (budget {allowed.get(name, 0):g})" for name, n in grown.items())
            found.append(f"{kind}: {total:.1f} system calls, budget {limit:.1f}. Grown: {calls}")
        elif limit >= _LEAST_TO_TIGHTEN and total < limit - 2 * margin:
            found.append(f"{kind}: only {total:.1f} system calls, budget {limit:.1f}. Tighten budget.json")
    return found


def _without_rare(calls: Calls) -> Calls:
    return {name: number for name, number in calls.items() if number >= _RARE}
