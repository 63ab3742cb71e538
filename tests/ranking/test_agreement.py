from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from pipeline.ranking.agreement import agreement, kendall_tau, order_agreement, top_overlap

#: Few values, so that there are ties.
SCORES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40).map(
    lambda pairs: tuple(np.array(column, dtype=np.float32) for column in zip(*pairs, strict=True))
)


@given(SCORES)
def test_tau_is_scipys(scores: tuple[np.ndarray, np.ndarray]) -> None:
    expected = kendalltau(*scores).statistic
    if not math.isnan(expected):
        assert kendall_tau(*scores) == pytest.approx(expected, abs=1e-6)


def test_tau_where_nothing_is_ordered() -> None:
    flat, rising = np.zeros(3, np.float32), np.arange(3, dtype=np.float32)
    assert kendall_tau(flat, flat) == 1
    assert kendall_tau(flat, rising) == 0
    assert kendall_tau(flat[:1], flat[:1]) == 1


def test_overlap_of_the_ten_best() -> None:
    first = np.arange(20, dtype=np.float32)
    second = first.copy()
    second[[19, 0]] = second[[0, 19]]  # one of the ten best falls out
    assert top_overlap(first, second) == 0.9
    assert top_overlap(first[:3], -first[:3]) == 1  # all of three


def test_lists_are_compared_one_by_one() -> None:
    first = np.array([3, 2, 1, 5, 4], dtype=np.float32)
    second = np.array([3, 2, 1, 4, 5], dtype=np.float32)
    found = agreement(first, second, np.array([0, 3, 5]))
    assert (found.most, found.tau, found.overlap) == (1, 0, 1)


def test_a_score_that_is_no_number_agrees_with_nothing() -> None:
    broken = np.array([np.nan, 1], dtype=np.float32)
    assert agreement(broken, broken, np.array([0, 2])).most == math.inf


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_orders_are_compared_as_their_places_are(lengths: list[int], chance: object) -> None:
    lists = np.repeat(np.arange(len(lengths)), lengths).astype(np.int64)
    shuffled = [chance.sample(range(1, n + 1), n) for n in lengths]  # type: ignore[attr-defined]
    first = np.concatenate([np.arange(1, n + 1) for n in lengths]).astype(np.int32)
    second = np.concatenate(shuffled).astype(np.int32)
    found = order_agreement(first, second, lists)
    gaps = order_agreement(first * 3, second * 2 + 5, lists)
    assert found == gaps
    expected = [kendalltau(range(len(s)), s).statistic for s in shuffled if len(s) > 1]
    assert found.lists == len(expected)
    assert found.tau == pytest.approx(np.mean(expected) if expected else 1.0, abs=1e-6)
    same = order_agreement(second, second, lists)
    assert (same.rbo, same.overlap, same.tau) == pytest.approx((1, 1, 1))
