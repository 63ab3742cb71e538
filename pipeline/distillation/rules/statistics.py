"""What a training set's scores look like: spread, histograms, and a temperature to start from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.distillation.rules.teachers import Method, Moments, Scale

Floats = npt.NDArray[np.float64]

BINS: Final = 40

#: How the temperature is found, written beside it.
TEMPERATURE_RULE: Final = (
    "mean over queries of the standard deviation of the combined scores of a query's positives and "
    "negatives, so that scores / temperature have a spread of about 1 in a list; the per-sample "
    "standard deviation is the temperature of Sun et al., Logit Standardization in Knowledge "
    "Distillation (CVPR 2024, arXiv 2403.01642)"
)


def histogram_edges(
    moments: Sequence[Moments],
    scales: Sequence[Scale],
    weights: Sequence[float],
    *,
    method: Method,
    rank_constant: float,
    coverage: str,
) -> Floats:
    """float64 [BINS + 1]: edges known before any score is combined, so that units can be added up.

    They span what combined scores can be, cut at four standard deviations; what lies outside falls
    into the first or last bin.

    Args:
        moments: of each teacher's raw scores.
        scales: of each teacher.
        weights: of each teacher.
        method: how scores are combined.
        rank_constant: of rank fusion.
        coverage: all or any.
    """
    share = np.asarray(weights, dtype=np.float64)
    if method == "rank_fusion":
        return np.linspace(0.0, float(share.sum()) / (rank_constant + 1), BINS + 1)
    ends = np.array(
        [np.sort(s.apply(np.array([m.low, m.high]))) for m, s in zip(moments, scales, strict=True)]
    )
    middle = np.array(
        [s.multiplier * m.mean + s.offset for m, s in zip(moments, scales, strict=True)]
    )
    spread = np.array(
        [abs(s.multiplier) * m.deviation for m, s in zip(moments, scales, strict=True)]
    )
    low, high = (
        np.maximum(ends[:, 0], middle - 4 * spread),
        np.minimum(ends[:, 1], middle + 4 * spread),
    )
    if coverage == "all":
        bounds = float(share @ low / share.sum()), float(share @ high / share.sum())
    else:
        bounds = float(low.min()), float(high.max())
    return np.linspace(bounds[0], bounds[1] if bounds[1] > bounds[0] else bounds[0] + 1, BINS + 1)


def histogram(values: Floats, edges: Floats) -> list[int]:
    """Counts per bin of the values that are not NaN; those outside fall into the end bins."""
    values = values[~np.isnan(values)]
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return [int(n) for n in np.bincount(places, minlength=len(edges) - 1)]


def list_spread(scores: Iterable[Floats]) -> Moments:
    """Moments of the standard deviations within lists of at least two scores."""
    deviations = [float(kept.std()) for one in scores if len(kept := one[~np.isnan(one)]) > 1]
    return Moments.of(np.array(deviations, dtype=np.float64))


def temperature(spread: Moments) -> float | None:
    """See :data:`TEMPERATURE_RULE`; None where no list has a spread."""
    return spread.mean if spread.mean > 0 else None


def added(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Nested counts (numbers, or lists of numbers) key by key."""
    total = dict(left)
    for key, value in right.items():
        here = total.get(key)
        if here is None:
            total[key] = value
        elif isinstance(value, dict):
            total[key] = added(here, value)
        elif isinstance(value, list):
            total[key] = [a + b for a, b in zip(here, value, strict=True)]
        else:
            total[key] = here + value
    return total
