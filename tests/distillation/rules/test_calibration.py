from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from pipeline.distillation.rules.calibration import log_odds, sampled_others
from pipeline.errors import InputContractError


@pytest.mark.parametrize(("slope", "offset", "shift"), [(1.5, -1.0, 0), (0.01, 0, 500), (-3, 1, 0)])
def test_the_fit_is_the_optimum_that_scipy_finds(slope: float, offset: float, shift: float) -> None:
    chance = np.random.default_rng(0)
    scores = chance.normal(shift, 1 / abs(slope), 400)
    odds = slope * (scores - shift) + offset
    relevant = chance.random(400) < 1 / (1 + np.exp(-odds))
    weights = chance.integers(1, 5, 400).astype(float)
    found = log_odds(scores, relevant, weights, teacher="t")
    up, down = weights[relevant].sum(), weights[~relevant].sum()
    target = np.where(relevant, (up + 1) / (up + 2), 1 / (down + 2))
    scaled = (scores - shift) * abs(slope)

    def loss(p: np.ndarray) -> float:
        fitted = p[0] * scaled + p[1]
        return float((weights * (np.logaddexp(0, fitted) - target * fitted)).sum())

    best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9})
    expected = best.x[0] * scaled + best.x[1]
    np.testing.assert_allclose(found.apply(scores), expected, atol=1e-3)


def test_scores_that_separate_the_classes_stay_finite() -> None:
    relevant = np.array([True] * 10 + [False] * 10)
    scores = np.where(relevant, 1e30, -1e30)
    fitted = log_odds(scores, relevant, np.ones(20), teacher="t").apply(scores)
    assert np.isfinite(fitted).all()
    assert (fitted[:10] > 1).all()
    assert (fitted[10:] < -1).all()


@pytest.mark.parametrize(
    ("scores", "relevant"),
    [([], []), ([1.0, 2.0], [True, True]), ([1.0, 2.0], [False, False]), ([1, 1], [True, False])],
)
def test_a_fit_without_two_classes_and_a_spread_is_refused(
    scores: list[float], relevant: list[bool]
) -> None:
    with pytest.raises(InputContractError, match=r"teacher t: cannot be calibrated.*qrels"):
        log_odds(np.array(scores), np.array(relevant, bool), np.ones(len(scores)), teacher="t")


def test_the_sample_keeps_positives_and_stands_for_all_others() -> None:
    relevant = np.array([False, True, False, False, False, False, False, True])
    usable = np.array([True, True, False, True, True, True, True, False])
    draw = np.array([5, 0, 0, 1, 4, 2, 3, 0], dtype=np.uint64)
    places, weights = sampled_others(relevant, usable, draw)
    assert places.tolist() == [1, 3, 5, 6, 4]
    assert weights.tolist() == [1, 1.25, 1.25, 1.25, 1.25]
    nothing = np.zeros(3, dtype=bool)
    assert [len(one) for one in sampled_others(nothing, nothing, draw[:3])] == [0, 0]
