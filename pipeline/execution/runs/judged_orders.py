"""The orders of a run on judged queries, whose rows alone are held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.execution.runs.ranked_reader import read_ranked
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.ranking.coverage import Coverage, coverage
from pipeline.ranking.others import Others, Qrels
from pipeline.ranking.runs import Run, first_stage_run, named_once, ranked_by, ranked_run

FIRST_STAGE: Final = "first stage"
RERANKED: Final = "reranked"
FUSED: Final = "fused"

#: What orders are read from.
ORDER_COLUMNS: Final = (
    schema.QUERY_ID,
    schema.DOC_ID,
    schema.RANK,
    schema.FIRST_STAGE_RANK,
    schema.REASON,
)


@dataclass(frozen=True, kw_only=True)
class JudgedOrders:
    """Orders of the same lists.

    Attributes:
        first_stage: the order that candidates came in; None where it is not known.
        reranked: the model's.
        fused: that of ``output.fusion``; None where the run has none.
        coverage: what judgements and lists have in common.
    """

    first_stage: Run | None
    reranked: Run
    fused: Run | None
    coverage: Coverage

    @property
    def all(self) -> tuple[Run, ...]:
        """The orders that are there, the first stage first."""
        return tuple(o for o in (self.first_stage, self.reranked, self.fused) if o is not None)


def judged_orders(folder: RunFolder, qrels: Qrels) -> JudgedOrders:
    """Read the lists of judged queries of a run of ours.

    Raises:
        NotFoundError, DamagedRunError: see :func:`read_judged`.
    """
    fuses = folder.describe()["config"]["output"].get("fusion") is not None
    columns = (*ORDER_COLUMNS, schema.FUSED_RANK) if fuses else ORDER_COLUMNS
    table, others = read_judged(folder, qrels, columns)
    reranked = ranked_run(table, RERANKED)
    return JudgedOrders(
        first_stage=first_stage_run(table, FIRST_STAGE),
        reranked=reranked,
        fused=ranked_by(table, schema.FUSED_RANK, FUSED) if fuses else None,
        coverage=coverage(reranked, qrels, others),
    )


def read_judged(folder: RunFolder, qrels: Qrels, columns: Sequence[str]) -> tuple[pa.Table, Others]:
    """The ranked rows of judged queries, each document of a list once, and who else is there.

    Args:
        folder: of the run.
        qrels: relevance by query id and document id.
        columns: to read, with query_id, doc_id, rank and reason.

    Raises:
        NotFoundError: no unit is committed yet.
        DamagedRunError: a file is gone or not as it was written; names it.
    """
    others = Others(qrels)
    table = read_ranked(folder, columns=columns, keep=lambda rows: _judged(rows, qrels, others))
    return named_once(table), others


def _judged(rows: pa.Table, qrels: Qrels, others: Others) -> pa.Table:
    """The rows of judged queries; every other list is noted, by its first row."""
    ids = rows.column(schema.QUERY_ID).cast(pa.large_string()).combine_chunks().dictionary_encode()
    known = pa.array([name in qrels for name in ids.dictionary.to_pylist()], pa.bool_())
    judged = pc.fill_null(known.take(ids.indices), False)
    first = pc.equal(rows.column(schema.RANK).combine_chunks(), 1)
    others.add(ids.dictionary.take(ids.indices.filter(pc.and_not(first, judged)).drop_null()))
    return rows.filter(judged)
