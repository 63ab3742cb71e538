"""Packed counts come back as they were, in the order of the plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.execution.runs.packed_counts import PackedCounts
from pipeline.execution.runs.unit_counts import Totals, UnitCounts

PLANNED = ["a", "b", "c", "d"]
COUNTS = [
    UnitCounts(unit="c", queries=1, documents=2, tokens=1 << 39, parts=3, reused=0),
    UnitCounts(unit="a", queries=9, documents=0, tokens=0, reasons={"no_candidates": 9}),
    UnitCounts(unit="b", queries=2, documents=5, tokens=7, reasons={"null_text": 4}, reused=1,
               special_tokens={"documents": 1}),
]  # fmt: skip


def test_counts_come_back_in_the_order_of_the_plan() -> None:
    packed = PackedCounts(PLANNED)
    assert not packed
    for counts in COUNTS:
        packed.add(counts)
    assert [*packed] == ["a", "b", "c"]
    assert [*packed.values()] == sorted(COUNTS, key=lambda counts: counts.unit)
    assert ("c" in packed, "d" in packed, "x" in packed) == (True, False, False)
    with pytest.raises(KeyError):
        packed["d"]
    packed.add(replace(COUNTS[0], documents=4))
    assert (len(packed), packed["c"].documents) == (3, 4)
    scored = replace(COUNTS[2], reasons={}, special_tokens={})
    packed.add(scored)
    assert packed["b"] == scored


def test_units_that_no_plan_has_are_kept_as_well() -> None:
    packed = PackedCounts(["a"])
    for number in range(100):
        packed.add(UnitCounts(unit=f"{number}", queries=number, documents=1, tokens=0))
    assert [counts.queries for counts in packed.values()] == [*range(100)]


def test_totals_are_those_of_all() -> None:
    totals = Totals.of(COUNTS)
    assert (totals.units, totals.queries, totals.documents) == (3, 12, 7)
    assert (totals.tokens, totals.quarantined, totals.reused) == ((1 << 39) + 7, 4, 1)
    assert [*totals.reasons.items()] == [("no_candidates", 9), ("null_text", 4)]
    assert totals.special_tokens == {"documents": 1}
    assert Totals.of(COUNTS[1:2]).reused is None
