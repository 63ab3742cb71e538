"""How good several orders are by judgements, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.comparison.orders import FIRST_STAGE, Orders
from pipeline.ranking.coverage import coverage, warnings
from pipeline.ranking.evaluation import Evaluation, evaluate
from pipeline.ranking.measures import parse_measures
from pipeline.ranking.others import Qrels
from pipeline.ranking.pairs import OrderPair, compare_all, mean_interval

#: Share of the first ten documents that are judged at all.
JUDGED: Final = "Judged@10"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What judgements say of several orders.

    Attributes:
        measures: names as ir-measures writes them, in the order asked for.
        evaluations: of each order, the first stage first.
        judged: mean share of each order's first ten documents that are judged, by its name.
        pairs: every two orders, measure by measure.
        without_relevant: queries without a relevant document among their candidates, which no
            order helps.
        unseen: what of lists and judgements does not meet, a sentence each.
    """

    measures: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    judged: Mapping[str, float]
    pairs: tuple[OrderPair, ...]
    without_relevant: int
    unseen: tuple[str, ...]

    @property
    def queries(self) -> int:
        """Judged queries that means are taken over."""
        return self.evaluations[0].queries

    def of(self, name: str) -> dict[str, Any]:
        """Plain data of one order: mean, interval of the mean, and share that is judged."""
        [found] = [each for each in self.evaluations if each.run == name]
        return {
            "measures": {
                measure: {
                    "mean": found.means[measure],
                    "interval": mean_interval(list(found.per_query[measure].values())),
                }
                for measure in self.measures
            },
            "judged_at_10": self.judged[name],
        }


def quality(
    orders: Orders, query_ids: Sequence[str], qrels: Qrels, measures: Sequence[str]
) -> Quality:
    """Evaluate every order on the queries that were drawn.

    Args:
        orders: of their lists.
        query_ids: the queries; all are judged. One whose list is empty counts as 0 in every order.
        qrels: the judgements.
        measures: names, as :func:`pipeline.ranking.measures.parse_measures` takes them.

    Raises:
        ConfigurationError: a measure is unknown.
        InputContractError: ids do not match, see :meth:`Coverage.wrong`.
    """
    ours = {query_id: qrels[query_id] for query_id in query_ids}
    names = tuple(repr(measure) for measure in parse_measures(measures))
    joined = coverage(orders.run(FIRST_STAGE), ours)
    joined.refuse()
    evaluations = tuple(evaluate(orders.run(name), ours, names) for name in orders.ranks)
    judged = {
        name: evaluate(orders.run(name), ours, [JUDGED]).means[JUDGED] for name in orders.ranks
    }
    lists = orders.run(FIRST_STAGE).rankings
    with_relevant = [
        query_id
        for query_id, grades in ours.items()
        if any(grades.get(document, 0) > 0 for document in lists.get(query_id, ()))
    ]
    return Quality(
        measures=names,
        evaluations=evaluations,
        judged=judged,
        pairs=tuple(compare_all(evaluations)),
        without_relevant=len(ours) - len(with_relevant),
        unseen=tuple(warnings(joined)),
    )
