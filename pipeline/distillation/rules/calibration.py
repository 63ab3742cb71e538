"""From a teacher's raw score to log-odds of relevance: Platt's logistic fit.

Platt, "Probabilistic outputs for support vector machines" (1999), with the numerically safe form of
Lin, Lin and Weng (2007). The result is ``a * score + b``; its sigmoid is a probability, but
log-odds do not saturate, so they are what is combined and distilled.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.distillation.rules.teachers import Scale
from pipeline.errors import InputContractError

Floats = npt.NDArray[np.float64]

_ROUNDS = 100
_ENOUGH = 1e-12
_RIDGE = 1e-12

#: Unjudged candidates that a query gives to the fit.
_OTHERS_PER_QUERY = 4


def log_odds(
    scores: Floats, relevant: npt.NDArray[np.bool_], weights: Floats, *, teacher: str
) -> Scale:
    """Fit ``P(relevant | score) = sigmoid(a * score + b)``.

    Targets are Platt's: ``(n+ + 1) / (n+ + 2)`` and ``1 / (n- + 2)``, which keeps the fit finite
    where scores separate the classes.

    Args:
        scores: float64 [N], finite.
        relevant: bool [N].
        weights: float64 [N], how many candidates each one stands for.
        teacher: its name, for errors.

    Raises:
        InputContractError: one class is empty, or scores have no spread.
    """
    positive, negative = weights[relevant].sum(), weights[~relevant].sum()
    centre = float(np.average(scores, weights=weights)) if len(scores) else 0.0
    spread = float(np.sqrt(np.average((scores - centre) ** 2, weights=weights))) if positive else 0
    if not (positive and negative and spread > 0):
        raise InputContractError(
            f"teacher {teacher}: cannot be calibrated: {int(positive)} judged relevant and "
            f"{int(negative)} other scored candidates, spread {spread:g}; check that "
            "positives.qrels speaks of these lists, or set combination.scores to standardised"
        )
    target = np.where(relevant, (positive + 1) / (positive + 2), 1 / (negative + 2))
    features = np.stack([(scores - centre) / spread, np.ones(len(scores))])
    found = np.array([0.0, np.log((positive + 1) / (negative + 1))])
    loss = _loss(found, features, target, weights)
    for _ in range(_ROUNDS):
        chance = _sigmoid(found @ features)
        gradient = features @ (weights * (chance - target))
        curvature = (features * (weights * chance * (1 - chance))) @ features.T
        step = np.linalg.solve(curvature + _RIDGE * np.eye(2), gradient)
        # Newton's step, halved until it goes down: the loss is convex.
        while (new := _loss(found - step, features, target, weights)) > loss:
            step = step / 2
            if np.abs(step).max() < _ENOUGH:
                break
        gain, found, loss = loss - new, found - step, new
        if gain <= _ENOUGH * (1 + abs(loss)):
            break
    slope = float(found[0]) / spread
    return Scale(multiplier=slope, offset=float(found[1]) - slope * centre)


def _loss(parameters: Floats, features: Floats, target: Floats, weights: Floats) -> float:
    """Weighted cross entropy, in the form that neither overflows nor loses digits."""
    odds = parameters @ features
    return float((weights * (np.logaddexp(0, odds) - target * odds)).sum())


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0, -odds)), dtype=np.float64)


def sampled_others(
    relevant: npt.NDArray[np.bool_], usable: npt.NDArray[np.bool_], draw: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Which candidates of one query the fit sees: all relevant ones, and a few that stand for the
    others, so that what is collected stays small.

    Args:
        relevant: bool [n].
        usable: bool [n], those with a score.
        draw: uint64 [n], a number drawn for each candidate; the lowest are taken.

    Returns:
        places: int64 [k].
        weights: float64 [k], how many candidates each one stands for.
    """
    positives = np.flatnonzero(relevant & usable)
    others = np.flatnonzero(~relevant & usable)
    kept = others[np.argsort(draw[others], kind="stable")[:_OTHERS_PER_QUERY]]
    share = len(others) / len(kept) if len(kept) else 0.0
    weights = np.concatenate([np.ones(len(positives)), np.full(len(kept), share)])
    return np.concatenate([positives, kept]), weights
