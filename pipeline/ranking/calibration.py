"""Scores as probabilities of relevance: fitted on judged pairs, kept as plain data.

Temperature is Guo et al., "On calibration of modern neural networks", ICML 2017; Platt's sigmoid
with his smoothed targets is Platt, "Probabilistic outputs for support vector machines", 1999;
isotonic regression is Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass
probability estimates", KDD 2002.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from pipeline.config import Settings
from pipeline.errors import ConfigurationError, InputContractError
from pipeline.extras import library

Method = Literal["temperature", "platt", "isotonic"]
Floats = npt.NDArray[np.float64]

#: Pairs of each kind below which a fit says nothing.
LEAST: Final = 10

#: Probabilities are kept this far from 0 and 1, where their logarithm ends.
_EDGE: Final = 1e-7


class Calibration(Settings):
    """How a model's scores become probabilities of relevance.

    ``temperature`` is ``sigmoid(logit / temperature)``, ``platt`` is ``sigmoid(slope * score +
    intercept)``, ``isotonic`` goes straight from one of its points to the next, and stays at the
    first and the last beyond them.
    """

    method: Method = Field(description="What was fitted.")
    score_scale: str = Field(description="What the scores are that it was fitted to.")
    model: str = Field(description="Digest of model and settings whose scores it was fitted to.")
    relevant: int = Field(description="Least grade that counted as relevant.")
    pairs: int = Field(description="Judged pairs that it was fitted to.")
    positives: int = Field(description="Those of them that are relevant.")
    temperature: Annotated[float, Field(gt=0)] | None = Field(None, description="Of temperature.")
    slope: Annotated[float, Field(gt=0)] | None = Field(None, description="Of platt.")
    intercept: float | None = Field(None, description="Of platt.")
    points: tuple[tuple[float, float], ...] | None = Field(
        None, description="Of isotonic: score and probability, both ascending."
    )

    @model_validator(mode="after")
    def _complete(self) -> Calibration:
        wanted = {"temperature": ("temperature",), "platt": ("slope", "intercept")}
        given = {n for n in ("temperature", "slope", "intercept", "points") if _has(self, n)}
        if given != set(wanted.get(self.method, ("points",))):
            raise ValueError(f"'{self.method}' has parameters {sorted(given)}")
        if self.points is not None and not _ascending(self.points):
            raise ValueError("'points' are not ascending probabilities by ascending score")
        return self


def _has(calibration: Calibration, name: str) -> bool:
    return getattr(calibration, name) is not None


def _ascending(points: tuple[tuple[float, float], ...]) -> bool:
    scores, chances = (np.array(column) for column in zip(*points, strict=True))
    inside = bool((chances >= 0).all() and (chances <= 1).all() and np.isfinite(scores).all())
    return inside and bool((np.diff(scores) > 0).all() and (np.diff(chances) >= 0).all())


def calibrated(calibration: Calibration, scores: Floats) -> Floats:
    """float64 [N] in 0 to 1, for scores of the calibration's scale; NaN stays NaN."""
    if calibration.temperature is not None:
        return _sigmoid(_logits(scores, calibration.score_scale) / calibration.temperature)
    if calibration.slope is not None and calibration.intercept is not None:
        return _sigmoid(calibration.slope * scores + calibration.intercept)
    assert calibration.points is not None
    points, chances = (np.array(column) for column in zip(*calibration.points, strict=True))
    return np.where(np.isnan(scores), np.nan, np.interp(scores, points, chances))


def fitted(
    method: Method,
    scores: Floats,
    relevant: npt.NDArray[np.bool_],
    *,
    score_scale: str,
    model: str,
    grade: int,
) -> Calibration:
    """Fit to judged pairs.

    Args:
        method: which.
        scores: float [N], finite.
        relevant: bool [N], whether the pair is.
        score_scale: what the scores are; temperature takes ``logit`` and ``probability``.
        model: digest of what gave them.
        grade: least grade that counted as relevant.

    Raises:
        InputContractError: too few pairs of either kind, or higher scores are less relevant.
        ConfigurationError: temperature of another scale; scipy is not installed.
    """
    positives, pairs = int(relevant.sum()), len(relevant)
    if min(positives, pairs - positives) < LEAST:
        raise InputContractError(
            f"{pairs:,} judged pairs have a score, {positives:,} of them relevant (grade {grade} "
            f"or more); a calibration takes at least {LEAST} of either kind. Where judgements name "
            "relevant documents only, count the others as irrelevant (--unjudged irrelevant)"
        )
    about = {
        "method": method, "score_scale": score_scale, "model": model, "relevant": grade,
        "pairs": pairs, "positives": positives,
    }  # fmt: skip
    if method == "temperature":
        return Calibration(**about, temperature=_temperature(scores, relevant, score_scale))
    if method == "platt":
        slope, intercept = _platt(scores, relevant)
        return Calibration(**about, slope=slope, intercept=intercept)
    return Calibration(**about, points=_isotonic(scores, relevant))


def quality(
    chances: Floats, relevant: npt.NDArray[np.bool_], *, bins: int = 10
) -> dict[str, float]:
    """How good probabilities are: the less, the better.

    Returns:
        ``log_loss`` in nats a pair, ``brier`` (mean squared difference, Brier 1950), and ``ece``,
        the expected calibration error over ``bins`` of equally many pairs (Naeini et al. 2015).
    """
    safe = np.clip(chances, _EDGE, 1 - _EDGE)
    loss = -np.mean(np.where(relevant, np.log(safe), np.log1p(-safe)))
    parts = np.array_split(np.argsort(chances, kind="stable"), min(bins, len(chances)))
    gaps = [len(p) * abs(float(np.mean(chances[p]) - np.mean(relevant[p]))) for p in parts]
    return {
        "log_loss": float(loss),
        "brier": float(np.mean((chances - relevant) ** 2)),
        "ece": sum(gaps) / len(chances),
    }


def _temperature(scores: Floats, relevant: npt.NDArray[np.bool_], scale: str) -> float:
    logits = _logits(scores, scale)
    found = _optimise().minimize_scalar(
        lambda t: _loss(logits * np.exp(-t), relevant.astype(float)),
        bounds=(-10.0, 10.0),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(np.exp(found.x))


def _platt(scores: Floats, relevant: npt.NDArray[np.bool_]) -> tuple[float, float]:
    positives = int(relevant.sum())
    negatives = len(relevant) - positives
    # Platt's targets, which keep a sample that is split cleanly from an endless slope.
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    targets = np.where(relevant, high, low)
    centre, spread = float(np.mean(scores)), float(np.std(scores)) or 1.0
    standard = (scores - centre) / spread

    def loss(parameters: Floats) -> tuple[float, Floats]:
        logits = parameters[0] * standard + parameters[1]
        wrong = _sigmoid(logits) - targets
        slopes = np.array([np.mean(wrong * standard), np.mean(wrong)])
        return _loss(logits, targets), slopes

    start = np.array([1.0, np.log((positives + 1) / (negatives + 1))])
    slope, intercept = _optimise().minimize(loss, start, jac=True, method="L-BFGS-B").x
    if slope <= 0:
        raise InputContractError(
            "among the judged pairs, higher scores are less often relevant, so no calibration "
            "keeps the order; are these judgements of this run? Where they name hardly any "
            "documents but relevant ones, count the others as irrelevant (--unjudged irrelevant)"
        )
    return float(slope / spread), float(intercept - slope * centre / spread)


def _isotonic(scores: Floats, relevant: npt.NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    levels, place = np.unique(scores, return_inverse=True)
    weights = np.bincount(place).astype(float)
    means = np.bincount(place, weights=relevant.astype(float)) / weights
    found = _optimise().isotonic_regression(means, weights=weights).x
    # Of a run of equal probabilities the ends are enough.
    edge = np.diff(found) != 0
    kept = np.flatnonzero(np.r_[True, edge] | np.r_[edge, True])
    return tuple((float(levels[i]), float(min(1.0, max(0.0, found[i])))) for i in kept)


def _logits(scores: Floats, scale: str) -> Floats:
    if scale == "probability":
        safe = np.clip(scores, _EDGE, 1 - _EDGE)
        return np.log(safe) - np.log1p(-safe)
    if scale != "logit":
        raise ConfigurationError(
            f"temperature is for logits and probabilities, and these scores are '{scale}'; use "
            "platt or isotonic"
        )
    return scores


def _loss(logits: Floats, targets: Floats) -> float:
    return float(np.mean(np.logaddexp(0.0, logits) - targets * logits))


def _sigmoid(logits: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return np.exp(-np.logaddexp(0.0, -logits))


def _optimise() -> Any:
    return library("scipy.optimize", extra="eval", needed_by="calibration")


def as_data(calibration: Calibration) -> Mapping[str, Any]:
    """What is written of it, as JSON takes it."""
    return calibration.model_dump(mode="json", exclude_none=True)
