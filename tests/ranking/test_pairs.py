from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ranking.evaluation import Evaluation
from pipeline.ranking.pairs import compare_all, holm, mean_interval


def evaluation(run: str, values: list[float]) -> Evaluation:
    by_query = {f"q{place}": value for place, value in enumerate(values)}
    return Evaluation(
        run=run,
        measures=("RR",),
        per_query={"RR": by_query},
        means={"RR": float(np.mean(values))},
        missing=(),
        unjudged=0,
        blank=0,
        judged_at_10=1.0,
    )


def test_every_pair_is_compared_once_and_corrected_for_all() -> None:
    low, high = [0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.1], [0.9, 0.8, 0.9, 0.6, 0.7, 0.9, 0.8]
    runs = [evaluation("a", low), evaluation("b", high), evaluation("c", low)]
    found = compare_all(runs)
    assert [(pair.first, pair.second) for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    up, same, down = found
    assert up.found.difference == pytest.approx(-down.found.difference) != 0
    assert (same.p_holm, same.interval) == (1.0, (0.0, 0.0))
    assert up.found.p_randomization == 2 / 2**7
    assert up.p_holm == down.p_holm == 3 * up.found.p_randomization
    assert up.interval is not None
    assert up.interval[0] < up.found.difference < up.interval[1]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(values: list[float]) -> None:
    found = [p for p in holm(values) if p is not None]
    for p, adjusted in zip(values, found, strict=True):
        assert p <= adjusted <= min(1.0, len(values) * p) + 1e-12
    order = np.argsort(values, kind="stable")
    assert list(np.array(found)[order]) == sorted(found)


def test_the_interval_of_a_mean_is_scipy_s() -> None:
    values = [0.1, -0.2, 0.35, 0.0, 0.4]
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high))
    assert mean_interval([0.5]) is None
