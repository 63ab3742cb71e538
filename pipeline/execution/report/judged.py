"""A run against judgements, for its report: measures, and what each query wins or loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import pyarrow as pa

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.execution.report.units import rows_of
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.ranking.comparison import compare
from pipeline.ranking.coverage import coverage
from pipeline.ranking.differences import differences
from pipeline.ranking.evaluation import evaluate
from pipeline.ranking.runs import first_stage_run, named_once, ranked_run
from pipeline.reports.evaluation_table import as_json

MEASURES: Final = ("nDCG@10", "RR@10", "R@100")
_COLUMNS: Final = (
    schema.QUERY_ID,
    schema.DOC_ID,
    schema.RANK,
    schema.FIRST_STAGE_RANK,
    schema.REASON,
)

#: Queries that are listed on either side.
_LISTED: Final = 10


def evaluation_of(
    folder: RunFolder,
    units: Sequence[UnitCounts],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str] = MEASURES,
) -> dict[str, Any]:
    """Both orders of a run measured, and compared query by query.

    Only rows of judged queries are kept in memory.

    Returns:
        ``evaluations`` and ``comparisons`` as ``rerank evaluate --json`` has them; ``measure``,
        the first one; ``changes``, by which each judged query changed, ascending; ``wins`` and
        ``losses``, the largest ones.

    Raises:
        InputContractError: nothing of the run is judged.
        ConfigurationError: a measure is unknown, or a library for measures is not installed.
    """
    found = list(rows_of(folder, units, qrels, _COLUMNS))
    if not found:
        raise InputContractError(
            f"{folder.path}: holds none of the {len(qrels)} judged queries; expected query ids as "
            f"in the judgements, such as {min(qrels)!r}"
        )
    table = named_once(pa.concat_tables(found))
    before, after = first_stage_run(table, "first stage"), ranked_run(table, "reranked")
    coverage(after, qrels).refuse()
    first, second = evaluate(before, qrels, measures), evaluate(after, qrels, measures)
    each = differences(first, second)
    return {
        **as_json([first, second], [compare(first, second)]),
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
