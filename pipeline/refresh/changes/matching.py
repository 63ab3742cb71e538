"""Rows of two runs brought together by query and document. Pure; one bucket at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Side:
    """The rows of one of two runs in the order of query and rank, each document of a query once.

    Attributes:
        rows: table [N].
        queries: int64 [N], ascending: numbers of query ids, which both sides have in common.
        pairs: int64 [N]: likewise of query and document, each once.
        places: int64 [N]: the place of each row in its list, from 1.
        left_out: rows without an id, or of a pair that stands further up.
    """

    rows: pa.Table
    queries: Ints
    pairs: Ints
    places: Ints
    left_out: int

    def column(self, name: str) -> pa.Array:
        """One column in one piece."""
        return self.rows.column(name).combine_chunks()


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Two sides and which of their rows are of the same query and document.

    Attributes:
        before: the run before.
        after: today's.
        of_after: int64 [N]: for each row of ``after`` its row of ``before``; -1: none.
        gone: int64: rows of ``before`` that no row of ``after`` is of, in order.
        query_ids: the distinct ids of both sides in order; their numbers are places in it.
    """

    before: Side
    after: Side
    of_after: Ints
    gone: Ints
    query_ids: pa.Array


def match(before: pa.Table, after: pa.Table) -> Matched:
    """Bring the rows of some queries together.

    A row counts once for its query and document: of several, the one with the best rank; rows
    without one of the two ids are left out.

    Args:
        before: at least query_id, doc_id and rank; rows in any order.
        after: likewise, ids of the same types.
    """
    kept = [_with_ids(before), _with_ids(after)]
    queries, query_ids = _numbers([table.column(schema.QUERY_ID) for table in kept])
    documents, doc_ids = _numbers([table.column(schema.DOC_ID) for table in kept])
    old, new = (
        _side(table, numbers, numbers * len(doc_ids) + of_documents, given.num_rows)
        for table, numbers, of_documents, given in zip(
            kept, queries, documents, (before, after), strict=True
        )
    )
    order = np.argsort(old.pairs)
    places = np.searchsorted(old.pairs, new.pairs, sorter=order)
    found = np.full(len(new.pairs), -1)
    within = places < len(order)
    candidates = order[places[within]]
    same = old.pairs[candidates] == new.pairs[within]
    found[np.flatnonzero(within)[same]] = candidates[same]
    left = np.ones(len(order), dtype=bool)
    left[found[found >= 0]] = False
    return Matched(
        before=old, after=new, of_after=found, gone=np.flatnonzero(left), query_ids=query_ids
    )


def _with_ids(rows: pa.Table) -> pa.Table:
    has = [pc.is_valid(rows.column(name)) for name in (schema.QUERY_ID, schema.DOC_ID)]
    return rows.filter(pc.and_(*has)).combine_chunks()


def _numbers(columns: list[pa.ChunkedArray]) -> tuple[list[Ints], pa.Array]:
    """Ids as numbers that sort as they do, text by its UTF-8 bytes, and the distinct ids so."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    ids = pa.chunked_array(chunks, columns[0].type).combine_chunks()
    encoded = pc.dictionary_encode(ids)
    order = pc.sort_indices(encoded.dictionary)
    position = np.empty(len(order), dtype=np.int64)
    position[order.to_numpy()] = np.arange(len(order))
    numbers = position[encoded.indices.to_numpy(zero_copy_only=False)]
    return np.split(numbers, [len(columns[0])]), encoded.dictionary.take(order)


def _side(rows: pa.Table, queries: Ints, pairs: Ints, given: int) -> Side:
    ranks = rows.column(schema.RANK).to_numpy()
    order = np.lexsort((ranks, queries))
    first = np.sort(np.unique(pairs[order], return_index=True)[1])
    order = order[first]
    queries = queries[order]
    starts = np.searchsorted(queries, queries)
    return Side(
        rows=rows.take(pa.array(order)), queries=queries, pairs=pairs[order],
        places=np.arange(len(order)) - starts + 1, left_out=given - len(order),
    )  # fmt: skip
