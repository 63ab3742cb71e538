"""Several orders of the same lists, each compared with each other one, and what chance explains.

Many comparisons find a difference by chance alone, so their p-values are corrected together: Holm,
"A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
1979. It holds however the comparisons depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from pipeline.extras import library
from pipeline.ranking.comparison import MeasureComparison, compare
from pipeline.ranking.evaluation import Evaluation

#: Of the intervals that are given.
CONFIDENCE: Final = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class OrderPair:
    """One measure in two orders.

    Attributes:
        first: name of the order that is compared with.
        second: name of the other one.
        found: means, wins, ties, losses and p of this comparison alone.
        interval: of the mean difference ``second - first``; None with fewer than two queries.
        p_holm: ``found.p_randomization``, corrected for all pairs of this measure; None where that
            is not defined.
    """

    first: str
    second: str
    found: MeasureComparison
    interval: Interval | None
    p_holm: float | None


def compare_all(evaluations: Sequence[Evaluation]) -> list[OrderPair]:
    """Every pair of orders, for every measure; the earlier order is what is compared with.

    Args:
        evaluations: of the same measures and judgements, with different names.

    Raises:
        ConfigurationError: they are not of the same measures or judgements.
    """
    pairs: list[OrderPair] = []
    both = [(one, other, compare(one, other)) for one, other in combinations(evaluations, 2)]
    for place, measure in enumerate(evaluations[0].measures):
        found = [comparison.measures[place] for _, _, comparison in both]
        corrected = holm([each.p_randomization for each in found])
        pairs += [
            OrderPair(
                first=one.run,
                second=other.run,
                found=each,
                interval=mean_interval(
                    _differences(one.per_query[measure], other.per_query[measure])
                ),
                p_holm=p,
            )
            for (one, other, _), each, p in zip(both, found, corrected, strict=True)
        ]
    return pairs


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values, in the order given; what is None is no comparison, and stays so.

    The k-th smallest of m becomes ``(m - k + 1) p``, at least what the one before became, at
    most 1. Rejecting those up to 0.05 keeps the chance of any false rejection up to 0.05.
    """
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    found: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        found[place] = least
    return found


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Student's interval of a mean at :data:`CONFIDENCE`; None with fewer than two values."""
    if len(values) < 2:
        return None
    stats = library("scipy.stats", extra="eval", needed_by="evaluation")
    factor = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    mean = math.fsum(values) / len(values)
    half = factor * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


def _differences(before: Mapping[str, float], after: Mapping[str, float]) -> list[float]:
    return [after[query] - before[query] for query in sorted(after)]
