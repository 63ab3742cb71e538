"""Whether judgements and lists that share ids are of the same collection at all.

Two collections that number their queries and documents from 1 share many ids, and a join of them
gives values which are low, and not 0. Judgements of one query say nothing about another one's
list, so lists are judged by those of other queries as well: what is no better than that is chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.runs import Run

#: Queries with relevant documents below which nothing can be told, and which are enough.
LEAST: Final = 20
ENOUGH: Final = 200

#: Ways to judge each query by another one's judgements: a mean that is above all of them is so by
#: chance in one of twenty cases.
SWAPS: Final = 19


@dataclass(frozen=True, kw_only=True)
class Chance:
    """A measure by a query's own judgements, and by those of other queries.

    Attributes:
        measure: its name.
        queries: that were compared.
        own: the best mean of the orders.
        swapped: that order's mean by the judgements of other queries, over all swaps.
        alike: in every order some swap is as good as the query's own judgements.
    """

    measure: str
    queries: int
    own: float
    swapped: float
    alike: bool


def by_chance(
    orders: Sequence[Run], qrels: Mapping[str, Mapping[str, int]], measure: str
) -> Chance | None:
    """Compare what orders are worth by their own judgements with what chance gives.

    Args:
        orders: of the same lists.
        qrels: relevance by query id and document id.
        measure: as :func:`~pipeline.ranking.measures.parse_measures` takes it.

    Returns:
        None with fewer than :data:`LEAST` queries that have a list and a relevant document.
    """
    lists = orders[0].rankings
    able = [query for query in sorted(qrels) if lists.get(query) and _has_relevant(qrels[query])]
    if len(able) < LEAST:
        return None
    queries = able[:: -(-len(able) // ENOUGH)]
    # Far apart, since ids that follow each other may be of one subject.
    steps = [max(1, round(swap * len(queries) / (SWAPS + 1))) for swap in range(1, SWAPS + 1)]
    found = []
    for run in orders:
        [own, *swapped] = [
            _mean(run, _judged_by(queries, step, qrels), measure) for step in (0, *steps)
        ]
        found.append((own, sum(swapped) / SWAPS, own <= max(swapped)))
    best = max(found)
    return Chance(
        measure=measure, queries=len(queries), own=best[0], swapped=best[1],
        alike=all(alike for _, _, alike in found),
    )  # fmt: skip


def _has_relevant(judged: Mapping[str, int]) -> bool:
    return max(judged.values(), default=0) > 0


def _judged_by(
    queries: Sequence[str], step: int, qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, Mapping[str, int]]:
    """Judgements in which each query has those of the query that is ``step`` places on."""
    others = [*queries[step:], *queries[:step]]
    return {query: qrels[other] for query, other in zip(queries, others, strict=True)}


def _mean(run: Run, qrels: Mapping[str, Mapping[str, int]], measure: str) -> float:
    [mean] = evaluate(run, qrels, [measure]).means.values()
    return mean
