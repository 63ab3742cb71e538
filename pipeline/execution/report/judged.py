"""A run against judgements, for its report: measures, and what each query wins or loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, Final

from pipeline.execution.runs.judged_orders import judged_orders
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.ranking.comparison import compare
from pipeline.ranking.coverage import warnings
from pipeline.ranking.differences import differences
from pipeline.ranking.evaluation import evaluate
from pipeline.reports.evaluation_table import as_json

MEASURES: Final = ("nDCG@10", "RR@10", "R@100")

#: Queries that are listed on either side.
_LISTED: Final = 10


def evaluation_of(
    folder: RunFolder,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = MEASURES,
) -> dict[str, Any]:
    """The orders of a run measured, and compared query by query.

    Only rows of judged queries are kept in memory.

    Returns:
        ``evaluations`` and ``comparisons`` as ``rerank evaluate --json`` has them, those of the
        first stage and the reranked order first; ``unseen``, sentences about what they do not see;
        ``measure``, the first one; ``changes``, by which each judged query changed from the first
        stage to the reranked order, ascending; ``wins`` and ``losses``, the largest ones.

    Raises:
        InputContractError: nothing of the run is judged, or ids were joined wrongly.
        NotFoundError: no unit is committed yet.
        DamagedRunError: a file is gone or not as it was written.
        ConfigurationError: a measure is unknown, or a library for measures is not installed.
    """
    found = judged_orders(folder, qrels)
    seen = found.coverage
    seen.refuse()
    evaluations = [evaluate(order, qrels, measures, others=seen.others) for order in found.all]
    each = differences(*evaluations[:2])
    comparisons = [compare(one, other) for one, other in combinations(evaluations, 2)]
    return {
        **as_json(evaluations, comparisons),
        "unseen": list(warnings(seen)),
        "measure": each.measure,
        "interval": each.interval,
        "changes": sorted(query.change for query in each.queries),
        "wins": [asdict(query) for query in each.wins[:_LISTED]],
        "losses": [asdict(query) for query in each.losses[:_LISTED]],
    }


def most_changed(evaluation: Mapping[str, Any], count: int) -> dict[str, tuple[float, float]]:
    """The measure before and after of wins and losses, half of each as far as there are any."""
    wins, losses = evaluation["wins"], evaluation["losses"]
    of_losses = min(len(losses), max(count // 2, count - len(wins)))
    chosen = [*wins[: count - of_losses], *losses[:of_losses]]
    return {query["query_id"]: (query["before"], query["after"]) for query in chosen}
