"""The table of the floor."""

from __future__ import annotations

import pytest

from bench.floor import HEADER, Cost, rows


def test_the_median_is_split_as_all_of_it() -> None:
    cost = Cost.of([0.0005, 0.0001, 0.0002], user=3.0, system=1.0, calls=30.0)
    assert cost == pytest.approx((0.0002, 0.00015, 30.0))


def test_what_mailproxy_has_over_the_prototype() -> None:
    costs = {"prototype": Cost(0.0002, 0.00005, 32.0), "mailproxy": Cost(0.00032, 0.0001, 38.0)}
    cells = rows("login", {**costs, "Dovecot": Cost(0.0004, 0.0001, None)})
    assert cells == [
        ("login", "prototype", "200", "50.0", "150", "0.50", "32.0"),
        ("login", "mailproxy", "320", "100", "220", "0.80", "38.0"),
        ("login", "Dovecot", "400", "100", "300", "1.00", "-"),
        ("login", "mailproxy less prototype", "120", "50.0", "70.0", "0.30", "6.00"),
    ]
    assert {len(row) for row in cells} == {len(HEADER)}
    assert [row[5] for row in rows("login", costs)] == ["-", "-", "-"]
