"""Flat candidate rows become lists, each with a reason where it cannot be scored, and a rank."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.canonical import INVALID_QUERY
from pipeline.candidates.lists import CandidateLists

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _QueryFlags:
    """What is wrong with the query of each candidate, bool [N] each."""

    null_id: Flags
    invalid: Flags
    null: Flags
    mismatch: Flags


def group_rows(rows: pa.Table, documents: pa.Table) -> CandidateLists:
    """Candidates [N] with their queries row by row: a list begins where the query changes.

    Args:
        rows: [N], canonical columns (:mod:`pipeline.candidates.canonical`) of the query level.
        documents: [N], those of the candidates.
    """
    ids = rows.column(schema.QUERY_ID).combine_chunks()
    starts = run_starts(ids)
    offsets = np.append(starts, rows.num_rows).astype(np.int64)
    first = pa.array(starts)
    query = rows.column(schema.QUERY).combine_chunks()
    queries = pa.table({schema.QUERY_ID: ids.take(first), schema.QUERY: query.take(first)})
    no_image = np.ones(rows.num_rows, dtype=bool)
    if schema.QUERY_IMAGE in rows.column_names:
        images = rows.column(schema.QUERY_IMAGE).combine_chunks()
        queries = queries.append_column(schema.IMAGE, images.take(first))
        no_image = reasons.is_null(images)
    of_document = np.repeat(np.arange(len(starts)), np.diff(offsets))
    wanted = queries.column(schema.QUERY).combine_chunks().take(pa.array(of_document))
    same = pc.fill_null(pc.equal(query, wanted), False).to_numpy(zero_copy_only=False)
    both_null = reasons.is_null(query) & reasons.is_null(wanted)
    flags = _QueryFlags(
        null_id=reasons.is_null(rows.column(schema.QUERY_ID)),
        invalid=rows.column(INVALID_QUERY).to_numpy(),
        null=reasons.is_null(wanted) & no_image,
        mismatch=~same & ~both_null,
    )
    return _lists(queries, documents, offsets, flags)


def group_lists(queries: pa.Table, documents: pa.Table, lengths: Ints) -> CandidateLists:
    """Queries [Q] and the candidates of all of them [N], a list for each query, empty ones too.

    Args:
        queries: canonical columns of the query level.
        documents: canonical columns of the candidates, in order.
        lengths: [Q], how many each query has.
    """
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    of_document = np.repeat(np.arange(len(lengths)), lengths)
    no_image = np.ones(queries.num_rows, dtype=bool)
    kept = queries.select([schema.QUERY_ID, schema.QUERY])
    if schema.QUERY_IMAGE in queries.column_names:
        kept = kept.append_column(schema.IMAGE, queries.column(schema.QUERY_IMAGE))
        no_image = reasons.is_null(queries.column(schema.QUERY_IMAGE))
    flags = _QueryFlags(
        null_id=reasons.is_null(queries.column(schema.QUERY_ID))[of_document],
        invalid=queries.column(INVALID_QUERY).to_numpy()[of_document],
        null=(reasons.is_null(queries.column(schema.QUERY)) & no_image)[of_document],
        mismatch=np.zeros(len(of_document), dtype=bool),
    )
    return _lists(kept.combine_chunks(), documents, offsets, flags)


def concatenated(tables: Iterable[pa.Table]) -> pa.Table:
    """Batches of several files in order; a column that a file lacks is null there."""
    return pa.concat_tables(list(tables), promote_options="permissive")


def _lists(
    queries: pa.Table, documents: pa.Table, offsets: Ints, flags: _QueryFlags
) -> CandidateLists:
    of_document = np.repeat(np.arange(queries.num_rows), np.diff(offsets))
    doc_ids = documents.column(schema.DOC_ID).combine_chunks()
    given = documents.column(schema.REASON).combine_chunks()
    invalid_text = np.asarray(pc.fill_null(pc.equal(given, reasons.INVALID_UTF8), False))
    no_image = np.ones(documents.num_rows, dtype=bool)
    if schema.IMAGE in documents.column_names:
        no_image = reasons.is_null(documents.column(schema.IMAGE))
    reason = reasons.first_reason(
        [
            (reasons.NULL_QUERY_ID, flags.null_id),
            (reasons.INVALID_UTF8, flags.invalid | invalid_text),
            (reasons.NULL_QUERY, flags.null),
            (reasons.QUERY_MISMATCH, flags.mismatch),
            (reasons.NULL_DOC_ID, reasons.is_null(doc_ids)),
            (reasons.NULL_TEXT, reasons.is_null(documents.column(schema.TEXT)) & no_image),
            (reasons.DUPLICATE_DOCUMENT, reasons.duplicated(of_document, doc_ids)),
        ],
        documents.num_rows,
    )
    # What was found when a copy was staged says more than what the row looks like now.
    found_before = pc.if_else(pc.equal(given, reasons.INVALID_UTF8), None, given)
    documents = _replace(documents, schema.REASON, pc.coalesce(found_before, reason))
    ranks = _first_stage_ranks(documents, offsets)
    documents = _replace(documents, schema.FIRST_STAGE_RANK, ranks)
    return CandidateLists(queries=queries, offsets=offsets, documents=documents)


def _first_stage_ranks(documents: pa.Table, offsets: Ints) -> pa.Array:
    """int32 [N]: the given ranks; where a list lacks one, its order by first-stage score or row.

    The sort is stable, so equal or missing scores keep the order of the rows.
    """
    given = documents.column(schema.FIRST_STAGE_RANK)
    missing = reasons.is_null(given)
    ranks = pc.fill_null(given, 0).to_numpy().astype(np.int64)
    scores = documents.column(schema.FIRST_STAGE_SCORE).to_numpy()
    for start, stop in pairwise(offsets.tolist()):
        if missing[start:stop].any():
            order = np.argsort(-np.nan_to_num(scores[start:stop], nan=-np.inf), kind="stable")
            ranks[start + order] = np.arange(1, stop - start + 1)
    return pa.array(ranks.astype(np.int32))


def run_starts(ids: pa.Array) -> Ints:
    """int64: the places of [N] ids where one differs from the one before; null equals null."""
    if len(ids) == 0:
        return np.zeros(0, dtype=np.int64)
    codes = pc.fill_null(pc.dictionary_encode(ids).indices, -1).to_numpy(zero_copy_only=False)
    return np.append(0, np.flatnonzero(np.diff(codes)) + 1).astype(np.int64)


def _replace(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
