"""What each judged query gains or loses in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigurationError
from pipeline.ranking.comparison import TOLERANCE, bootstrap_interval, same_queries
from pipeline.ranking.evaluation import Evaluation, mean


@dataclass(frozen=True, kw_only=True)
class QueryDifference:
    """One query in two orders.

    Attributes:
        query_id: as the judgements write it.
        before: value of the measure in the baseline.
        after: value in the other order.
        judged_before: share of the baseline's first ten documents that are judged, 0 where it
            holds none of the query's.
        judged_after: likewise, of the other order.
    """

    query_id: str
    before: float
    after: float
    judged_before: float
    judged_after: float

    @property
    def change(self) -> float:
        """``after - before``; exactly 0 where the two tie (see :data:`TOLERANCE`)."""
        change = self.after - self.before
        return 0.0 if abs(change) <= TOLERANCE else change


@dataclass(frozen=True, kw_only=True)
class Differences:
    """One measure in two orders, query by query.

    Attributes:
        measure: its name.
        baseline: name of the order that is compared with.
        other: name of the other one.
        queries: every judged query, the largest win first, the largest loss last; those that change
            alike by id.
        interval: 95 % bootstrap interval of the mean change; None with fewer than two queries.
    """

    measure: str
    baseline: str
    other: str
    queries: tuple[QueryDifference, ...]
    interval: tuple[float, float] | None

    @property
    def change(self) -> float:
        """Mean over all judged queries."""
        return mean({each.query_id: each.change for each in self.queries})

    @property
    def wins(self) -> tuple[QueryDifference, ...]:
        """Queries that are better in the other order, the largest win first."""
        return tuple(each for each in self.queries if each.change > 0)

    @property
    def ties(self) -> tuple[QueryDifference, ...]:
        """Queries that are alike in both."""
        return tuple(each for each in self.queries if each.change == 0)

    @property
    def losses(self) -> tuple[QueryDifference, ...]:
        """Queries that are worse in the other order, the largest loss first."""
        lost = (each for each in self.queries if each.change < 0)
        return tuple(sorted(lost, key=lambda each: (each.change, each.query_id)))

    def largest(self, count: int = 10) -> tuple[QueryDifference, ...]:
        """The queries that change most in either direction, the largest first; ties are none."""
        changed: Sequence[QueryDifference] = (*self.wins, *self.losses)
        return tuple(sorted(changed, key=lambda each: (-abs(each.change), each.query_id))[:count])


def differences(
    baseline: Evaluation, other: Evaluation, *, measure: str | None = None
) -> Differences:
    """Compare two orders by one measure, query by query.

    Args:
        baseline: what to compare with, usually the first stage.
        other: the new order.
        measure: its name, as the evaluations have it; None: their first.

    Raises:
        ConfigurationError: the two were evaluated with other measures or judgements, or without
            this measure; scipy is not installed.
    """
    same_queries(baseline, other)
    name = other.measures[0] if measure is None else measure
    if name not in other.measures:
        raise ConfigurationError(
            f"measure '{name}' was not evaluated; expected one of {', '.join(other.measures)}"
        )
    before, after = baseline.per_query[name], other.per_query[name]
    found = [
        QueryDifference(
            query_id=query,
            before=before[query],
            after=after[query],
            judged_before=baseline.judged.get(query, 0.0),
            judged_after=other.judged.get(query, 0.0),
        )
        for query in after
    ]
    return Differences(
        measure=name,
        baseline=baseline.run,
        other=other.run,
        queries=tuple(sorted(found, key=lambda each: (-each.change, each.query_id))),
        interval=bootstrap_interval([each.change for each in found]),
    )
