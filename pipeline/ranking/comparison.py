"""Whether two runs differ in quality, query by query, and by more than chance.

The tests are those of Smucker, Allan and Carterette, "A comparison of statistical significance
tests for information retrieval evaluation", CIKM 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError
from pipeline.extras import library
from pipeline.ranking.evaluation import Evaluation, mean

#: Differences up to this are ties: below what the order of a float sum can change.
TOLERANCE: Final = 1e-9
RESAMPLES: Final = 10_000
SEED: Final = 0


@dataclass(frozen=True, kw_only=True)
class QueryChange:
    """One query's value of a measure in the baseline and in the other run."""

    query_id: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class MeasureComparison:
    """One measure in two runs.

    Attributes:
        measure: its name.
        baseline: mean in the baseline.
        other: mean in the other run.
        difference: mean of ``other - baseline``.
        wins: queries that are better in the other run by more than :data:`TOLERANCE`.
        ties: queries that differ by no more than that.
        losses: queries that are worse in the other run.
        p_t_test: two-sided paired t-test; None where it is not defined (fewer than two queries, or
            every query changed by the same amount). 1 where no query changed.
        p_randomization: two-sided paired randomization test; None with fewer than two queries.
        biggest_wins: by change, then query id.
        biggest_losses: likewise.
    """

    measure: str
    baseline: float
    other: float
    difference: float
    wins: int
    ties: int
    losses: int
    p_t_test: float | None
    p_randomization: float | None
    biggest_wins: tuple[QueryChange, ...]
    biggest_losses: tuple[QueryChange, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs over the same judged queries: names, number of queries, one entry per measure."""

    baseline: str
    other: str
    queries: int
    measures: tuple[MeasureComparison, ...]


def compare(baseline: Evaluation, other: Evaluation, *, examples: int = 10) -> Comparison:
    """Compare two runs query by query.

    Args:
        baseline: what to compare with, usually the first stage.
        other: the new run.
        examples: how many of the biggest wins and losses to keep per measure.

    Raises:
        ConfigurationError: the two were evaluated with other measures or other judgements.
    """
    same_queries(baseline, other)
    return Comparison(
        baseline=baseline.run,
        other=other.run,
        queries=other.queries,
        measures=tuple(_compare(name, baseline, other, examples) for name in other.measures),
    )


def same_queries(baseline: Evaluation, other: Evaluation) -> None:
    """Refuse to compare what was evaluated differently.

    Raises:
        ConfigurationError: the two were evaluated with other measures or other judgements.
    """
    same = baseline.measures == other.measures and all(
        baseline.per_query[name].keys() == other.per_query[name].keys() for name in other.measures
    )
    if not same:
        raise ConfigurationError(
            f"runs '{baseline.run}' and '{other.run}' were evaluated with different measures or "
            "judgements; evaluate both with the same"
        )


def _compare(
    name: str, baseline: Evaluation, other: Evaluation, examples: int
) -> MeasureComparison:
    before, after = baseline.per_query[name], other.per_query[name]
    change = {query: after[query] - before[query] for query in sorted(after)}
    change = {query: 0.0 if abs(d) <= TOLERANCE else d for query, d in change.items()}
    wins = sorted((q for q, d in change.items() if d > 0), key=lambda q: (-change[q], q))
    losses = sorted((q for q, d in change.items() if d < 0), key=lambda q: (change[q], q))

    def listed(queries: Sequence[str]) -> tuple[QueryChange, ...]:
        return tuple(
            QueryChange(query_id=query, before=before[query], after=after[query])
            for query in queries[:examples]
        )

    differences = np.array(list(change.values()))
    return MeasureComparison(
        measure=name,
        baseline=baseline.means[name],
        other=other.means[name],
        difference=mean(change),
        wins=len(wins),
        ties=len(change) - len(wins) - len(losses),
        losses=len(losses),
        p_t_test=_p_t_test(differences),
        p_randomization=_p_randomization(differences),
        biggest_wins=listed(wins),
        biggest_losses=listed(losses),
    )


def _p_t_test(differences: npt.NDArray[np.float64]) -> float | None:
    if len(differences) < 2:
        return None
    if not differences.any():
        return 1.0
    if np.ptp(differences) <= TOLERANCE:
        return None
    return float(_stats().ttest_1samp(differences, 0.0).pvalue)


def _p_randomization(differences: npt.NDArray[np.float64]) -> float | None:
    """Share of sign flips whose mean is as extreme; queries that tie add nothing to any of them.

    Exact where there are at most :data:`RESAMPLES` flips, else that many are drawn, seeded.
    """
    if len(differences) < 2:
        return None
    changed = differences[differences != 0]
    if len(changed) < 2:
        return 1.0
    result = _stats().permutation_test(
        (changed,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 1_000_000 // len(changed)),  # 8 MB of draws at once
        rng=SEED,
    )
    return float(result.pvalue)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Percentile bootstrap interval (Efron 1979) of a mean, 95 %, seeded.

    It never leaves the range of the values, as an interval of a few values by Student's t does.

    Returns:
        None with fewer than two values.
    """
    if len(values) < 2:
        return None
    result = _stats().bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        method="percentile",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 1_000_000 // len(values)),
        rng=SEED,
    )
    interval = result.confidence_interval
    return float(interval.low), float(interval.high)


def _stats() -> Any:
    return library("scipy.stats", extra="eval", needed_by="evaluation")
