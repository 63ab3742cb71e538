"""Curves of bounded length with the first and the last moment in them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.timeline import MOST, Timeline


@given(st.integers(0, 5 * MOST))
def test_points_are_few_even_and_end_with_the_last(seen: int) -> None:
    timeline = Timeline()
    for second in range(seen):
        timeline(Snapshot(elapsed_s=float(second)))
    points = timeline.report()["elapsed_s"]
    assert len(points) <= min(seen, MOST + 1)
    if seen:
        assert (points[0], points[-1]) == (0, seen - 1)
        distances = {b - a for a, b in pairwise(points[:-1])}
        assert len(distances) <= 1


def test_curves_are_plain_numbers_of_one_length() -> None:
    timeline = Timeline()
    timeline(Snapshot(quarantined={"a": 2, "b": 1}, replicas={"wanted": 3, "up": 2, "starting": 1}))
    curves = timeline.report()
    assert {len(curve) for curve in curves.values()} == {1}
    assert (curves["quarantined"], curves["replicas_up"], curves["retries"]) == ([3], [2], [0])
