"""The ranked rows of a unit, which every sink writes: one per candidate, by list and rank."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, zip_longest

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.lists import CandidateLists
from pipeline.ranking.ranks import rank_lists


@dataclass(frozen=True, kw_only=True)
class RankedUnit:
    """The output of one unit.

    Attributes:
        ranked: a row per candidate in the order of :data:`pipeline.schema.RANKED_COLUMNS`.
        quarantine: a row per candidate without a score, then one per query without candidates.
    """

    ranked: pa.Table
    quarantine: pa.Table


def rank_unit(
    unit: str,
    lists: CandidateLists,
    scores: npt.NDArray[np.float32],
    *,
    columns: tuple[str, ...] = (),
) -> RankedUnit:
    """Rank every list of a unit.

    Args:
        unit: the unit's name.
        lists: every candidate of the unit with its reason, where there is one.
        scores: float32 [N]; NaN exactly where ``lists`` has a reason.
        columns: pass-through columns, in output order.
    """
    documents = lists.documents.combine_chunks()
    of_document = lists.query_of_document
    doc_ids = documents.column(schema.DOC_ID).combine_chunks()
    first_ranks = documents.column(schema.FIRST_STAGE_RANK).to_numpy()
    order, ranks = rank_lists(scores, first_ranks, doc_ids, of_document)
    taken = documents.take(pa.array(order))
    query_ids = lists.queries.column(schema.QUERY_ID).combine_chunks()
    sorted_scores = scores[order]
    arrays = {
        schema.QUERY_ID: query_ids.take(pa.array(of_document[order])),
        schema.DOC_ID: taken.column(schema.DOC_ID),
        schema.RANK: pa.array(ranks),
        schema.SCORE: pa.array(sorted_scores, pa.float32(), mask=np.isnan(sorted_scores)),
        schema.FIRST_STAGE_RANK: taken.column(schema.FIRST_STAGE_RANK),
        schema.FIRST_STAGE_SCORE: taken.column(schema.FIRST_STAGE_SCORE),
        schema.REASON: taken.column(schema.REASON),
    }
    contract = schema.ranked_schema(query_ids.type, doc_ids.type)
    passed = [pa.field(name, taken.schema.field(name).type) for name in columns]
    arrays |= {name: taken.column(name) for name in columns}
    ranked = pa.table(arrays, schema=pa.schema([*contract, *passed]))
    empty = query_ids.take(pa.array(lists.empty))
    told = taken.column(schema.MESSAGE) if schema.MESSAGE in taken.column_names else None
    return RankedUnit(ranked=ranked, quarantine=_quarantine(unit, ranked, told, empty))


def cut_rows(table: pa.Table, *, most_bytes: int) -> list[pa.Table]:
    """The rows in order over as many tables as keep each within ``most_bytes`` of memory.

    Cut by the average size of a row, so equal tables are cut at the same rows.
    """
    parts = min(max(1, table.num_rows), -(-table.nbytes // most_bytes) or 1)
    edges = [table.num_rows * i // parts for i in range(parts + 1)]
    return [table.slice(start, stop - start) for start, stop in pairwise(edges)]


def _quarantine(
    unit: str, ranked: pa.Table, told: pa.ChunkedArray | None, empty: pa.Array
) -> pa.Table:
    """The rows that have a reason, and the queries ``empty`` [E] that have no candidates.

    Args:
        unit: the unit's name.
        ranked: rows [N].
        told: [N], what is to be said of a row; null or None: what its code means.
        empty: ids.
    """
    has_reason = ranked.column(schema.REASON).is_valid()
    rejected = ranked.filter(has_reason)
    own = [] if told is None else told.filter(has_reason).to_pylist()
    codes = rejected.column(schema.REASON).to_pylist() + [reasons.NO_CANDIDATES] * len(empty)
    query_ids = rejected.column(schema.QUERY_ID).cast(pa.string())
    doc_ids = rejected.column(schema.DOC_ID).cast(pa.string())
    nothing = pa.nulls(len(empty), pa.string())
    return pa.table(
        {
            schema.UNIT: pa.array([unit] * len(codes), pa.string()),
            schema.QUERY_ID: pa.chunked_array([*query_ids.chunks, empty.cast(pa.string())]),
            schema.DOC_ID: pa.chunked_array([*doc_ids.chunks, nothing]),
            schema.REASON: pa.array(codes, pa.string()),
            schema.MESSAGE: pa.array(
                [said or reasons.message(code) for code, said in zip_longest(codes, own)],
                pa.string(),
            ),
        },
        schema=schema.QUARANTINE_SCHEMA,
    )
