from __future__ import annotations

import numpy as np
import pytest

from pipeline.distillation.rules.statistics import (
    BINS,
    added,
    histogram,
    histogram_edges,
    list_spread,
    temperature,
)
from pipeline.distillation.rules.teachers import Moments, Scale


def edges(scores: list[float], method: str = "mean") -> np.ndarray:
    moments = [Moments.of(np.array(scores))]
    return histogram_edges(
        moments, [Scale()], [1.0], method=method, rank_constant=60.0, coverage="all"
    )


def test_edges_span_the_scores_and_cut_off_what_is_far_out() -> None:
    plain = edges([0.0, 1.0, 2.0])
    assert (plain[0], plain[-1], len(plain)) == (0, 2, BINS + 1)
    far = edges([*np.linspace(-1, 1, 1000), 1e6])
    assert far[-1] < 1e6
    assert edges([1.0])[0] < edges([1.0])[-1]
    assert edges([0.0, 9.0], "rank_fusion")[-1] == 1 / 61


def test_every_score_is_counted_once() -> None:
    counts = histogram(np.array([-9.0, 0.0, 0.5, 2.0, 99.0, np.nan]), np.array([0.0, 1.0, 2.0]))
    assert counts == [3, 2]


def test_the_suggested_temperature_is_the_mean_spread_of_a_list() -> None:
    lists = [np.array([1.0, 3.0]), np.array([0.0, 0.0, 6.0, 6.0]), np.array([5.0, np.nan])]
    spread = list_spread(lists)
    assert spread.count == 2
    assert temperature(spread) == pytest.approx((1 + 3) / 2)
    assert temperature(list_spread([np.array([2.0, 2.0])])) is None


def test_counts_add_up_key_by_key() -> None:
    left = {"a": 1, "b": {"x": 1}, "c": [1, 2]}
    right = {"a": 2, "b": {"x": 1, "y": 5}, "c": [3, 4], "d": 7}
    assert added(left, right) == {"a": 3, "b": {"x": 2, "y": 5}, "c": [4, 6], "d": 7}
    assert left == {"a": 1, "b": {"x": 1}, "c": [1, 2]}
