"""A few candidate lists side by side: the first stage's order, and the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.execution.report.texts import Texts
from pipeline.execution.report.units import Sample

#: Lists that are shown, and documents of each order.
MOST_LISTS: Final = 10
_DOCUMENTS: Final = 5

#: What rows must hold for :func:`examples_of`.
COLUMNS: Final = (
    schema.QUERY_ID,
    schema.DOC_ID,
    schema.RANK,
    schema.SCORE,
    schema.FIRST_STAGE_RANK,
)

#: Characters of a text that are kept; more is no example any more.
_MOST_CHARACTERS: Final = 4_000


def drawn(sample: Sample) -> list[str]:
    """Ids of lists spread evenly over a sample; no list is preferred for what became of it."""
    count = int(sample.lists[-1]) + 1 if len(sample.lists) else 0
    numbers = np.unique(np.linspace(0, count - 1, min(count, MOST_LISTS)).round().astype(int))
    rows = np.searchsorted(sample.lists, numbers)
    ids = sample.table.column(schema.QUERY_ID).take(pa.array(rows)).cast(pa.large_string())
    return [query_id for query_id in ids.to_pylist() if query_id is not None]


def examples_of(
    tables: Sequence[pa.Table],
    queries: Sequence[str],
    texts: Texts,
    *,
    changes: Mapping[str, tuple[float, float]] | None = None,
    qrels: Mapping[str, Mapping[str, int]] | None = None,
) -> list[dict[str, Any]]:
    """The first documents of some lists in both orders.

    Args:
        tables: rows of these lists, see :data:`COLUMNS`; ``query_id`` is text.
        queries: ids, in the order in which they are shown.
        texts: what is known of them.
        changes: a measure before and after by query id; None: nothing was measured.
        qrels: relevance by query id and document id; None: nothing is judged.

    Returns:
        For each ``query_id``, ``query``, ``before`` and ``after``, and under ``first_stage`` and
        ``reranked`` documents with ``doc_id``, ``text``, ``rank``, ``first_stage_rank``, ``score``
        and ``relevance``; None where something is not known.
    """
    wanted = set(queries)
    rows: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        for row in table.select(COLUMNS).to_pylist():
            if row[schema.QUERY_ID] in wanted:
                rows.setdefault(row[schema.QUERY_ID], []).append(row)
    found = []
    for query_id in queries:
        if query_id not in rows:
            continue
        judged = None if qrels is None else qrels.get(query_id, {})
        before, after = (changes or {}).get(query_id, (None, None))
        orders = {
            name: [
                _document(row, texts, judged)
                for row in sorted(rows[query_id], key=lambda row: row[by])[:_DOCUMENTS]
            ]
            for name, by in (
                ("first_stage", schema.FIRST_STAGE_RANK),
                ("reranked", schema.RANK),
            )
        }
        found.append(
            {
                "query_id": query_id,
                "query": texts.queries.get(query_id),
                "documents": len(rows[query_id]),
                "before": before,
                "after": after,
                **orders,
            }
        )
    return found


def _document(
    row: Mapping[str, Any], texts: Texts, judged: Mapping[str, int] | None
) -> dict[str, Any]:
    doc_id = None if row[schema.DOC_ID] is None else str(row[schema.DOC_ID])
    text = texts.documents.get((row[schema.QUERY_ID], doc_id or ""))
    score = row[schema.SCORE]
    return {
        "doc_id": doc_id,
        "text": None if text is None else text[:_MOST_CHARACTERS],
        "rank": row[schema.RANK],
        "first_stage_rank": row[schema.FIRST_STAGE_RANK],
        "score": None if score is None else float(score),
        "relevance": None if judged is None else judged.get(doc_id or ""),
    }
