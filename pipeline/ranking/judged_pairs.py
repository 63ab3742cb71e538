"""The pairs of a run that somebody has judged, with their scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema


@dataclass(frozen=True, kw_only=True)
class JudgedPairs:
    """Pairs of query and document with a score.

    Attributes:
        scores: float64 [N], the run's.
        grades: int64 [N].
    """

    scores: npt.NDArray[np.float64]
    grades: npt.NDArray[np.int64]


def judged_pairs(
    table: pa.Table,
    qrels: Mapping[str, Mapping[str, int]],
    queries: Collection[str],
    *,
    unjudged: int | None = None,
) -> JudgedPairs:
    """The pairs of some queries that are judged and have a score.

    Args:
        table: rows with query_id, doc_id and score.
        qrels: relevance by query id and document id.
        queries: ids of the queries that count.
        unjudged: grade of documents without a judgement; None leaves them out.
    """
    wanted = {query: qrels[query] for query in queries}
    table = of_queries(table, queries)
    columns = (table.column(n).cast(pa.large_string()) for n in (schema.QUERY_ID, schema.DOC_ID))
    scores = table.column(schema.SCORE).to_pylist()
    found = [
        (score, grade)
        for query, doc, score in zip(*(c.to_pylist() for c in columns), scores, strict=True)
        if score is not None and (grade := wanted[query].get(doc, unjudged)) is not None
    ]
    return JudgedPairs(
        scores=np.array([score for score, _ in found], dtype=np.float64),
        grades=np.array([grade for _, grade in found], dtype=np.int64),
    )


def of_queries(table: pa.Table, queries: Collection[str]) -> pa.Table:
    """The rows of some queries, in their order; a run may hold millions that nobody judged."""
    ids = table.column(schema.QUERY_ID).cast(pa.large_string())
    wanted = pa.array(queries if isinstance(queries, list) else list(queries), pa.large_string())
    return table.filter(pc.is_in(ids, value_set=wanted))
