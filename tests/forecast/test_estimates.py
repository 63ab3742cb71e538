"""Estimates from pieces: exact where all was read, and as sure as they say where not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.forecast.estimates import CONFIDENCE, _student, ratio


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**4)), min_size=1, max_size=30))
def test_of_everything_the_ratio_is_exact(pieces: list[tuple[int, int]]) -> None:
    parts, sizes = np.array(pieces, np.float64).T
    found = ratio(parts, sizes, whole=float(sizes.sum()))
    assert found.value == pytest.approx(parts.sum() / sizes.sum())
    assert found.margin == 0


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    chance = np.random.default_rng(7)
    sizes = chance.integers(50, 200, 400).astype(np.float64)
    parts = sizes * chance.lognormal(4, 0.5, 400)
    truth = parts.sum() / sizes.sum()
    held = 0
    for _ in range(1_000):
        drawn = chance.choice(400, 16, replace=False)
        found = ratio(parts[drawn], sizes[drawn], whole=float(sizes.sum()))
        held += found.low <= truth <= found.high
    assert CONFIDENCE - 0.05 <= held / 1_000 <= 1.0


def test_a_single_piece_does_not_tell_how_far_it_is_off() -> None:
    found = ratio(np.array([30.0]), np.array([10.0]), whole=100)
    assert (found.value, found.margin) == (3.0, None)
    assert found.low == found.high == 3.0


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 15, 40, 1000])
def test_student_is_near_enough(freedom: int) -> None:
    assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.03)
