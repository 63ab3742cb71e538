"""A sample of candidates with what they refer to, as candidate lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.canonical import INVALID_QUERY
from pipeline.candidates.grouping import group_rows
from pipeline.candidates.lists import CandidateLists
from pipeline.inspection.referred import Referred
from pipeline.inspection.referring import key_text


def with_referred(
    rows: pa.Table, referred: Referred, name: str, content: Sequence[str], missing: str
) -> pa.Table:
    """Candidates [N] with the texts that they refer to, and a reason where there are none.

    Args:
        rows: candidates, or some of them.
        referred: what was found for their ids.
        name: our name of those ids.
        content: our names of what is taken over.
        missing: reason of a candidate whose id is not there.
    """
    keys = key_text(rows.column(name))
    places = pc.index_in(keys, value_set=referred.found.column("_key").combine_chunks())
    for one in (*content, schema.REASON):
        if one not in referred.found.column_names:
            continue
        values = referred.found.column(one).combine_chunks().take(places)
        if one == schema.REASON:
            absent = pc.and_(pc.is_null(places), pc.is_valid(keys))
            if referred.whole:
                values = pc.if_else(absent, missing, values)
            values = pc.coalesce(rows.column(one).combine_chunks(), values)
        if one in rows.column_names:
            rows = rows.set_column(rows.column_names.index(one), one, values)
        else:
            rows = rows.append_column(one, values)
    return rows


def lists_of(rows: pa.Table, separator: str, *, scattered: bool) -> list[CandidateLists]:
    """Rows as candidate lists, with the reasons that a run would find and those that they have.

    Args:
        rows: canonical candidates with their texts.
        separator: joins title and text.
        scattered: whether rows of a query may stand apart.
    """
    if rows.num_rows == 0:
        return []
    if scattered:
        rows = rows.take(pc.sort_indices(rows.column(schema.QUERY_ID)))
    rows = rows.combine_chunks()
    count = rows.num_rows
    nothing = pa.nulls(count, pa.string())
    has = set(rows.column_names)
    queries = {
        schema.QUERY_ID: rows.column(schema.QUERY_ID),
        schema.QUERY: rows.column(schema.QUERY) if schema.QUERY in has else nothing,
        INVALID_QUERY: pa.array(np.zeros(count, dtype=bool)),
    }
    numbers = {schema.FIRST_STAGE_SCORE: pa.float64(), schema.FIRST_STAGE_RANK: pa.int32()}
    documents = {
        schema.DOC_ID: rows.column(schema.DOC_ID),
        schema.TEXT: _text(rows, separator),
        schema.REASON: nothing,
        **{
            name: rows.column(name) if name in has else pa.nulls(count, kind)
            for name, kind in numbers.items()
        },
    }
    if schema.IMAGE in has:
        documents[schema.IMAGE] = rows.column(schema.IMAGE)
    lists = group_rows(pa.table(queries), pa.table(documents))
    table = lists.documents
    given = pc.coalesce(rows.column(schema.REASON), table.column(schema.REASON))
    place = table.column_names.index(schema.REASON)
    return [
        CandidateLists(
            queries=lists.queries,
            offsets=lists.offsets,
            documents=table.set_column(place, schema.REASON, given),
        )
    ]


def _text(rows: pa.Table, separator: str) -> pa.Array:
    """Title and text in one, where there are both."""
    parts = [rows.column(name) for name in (schema.TITLE, schema.TEXT) if name in rows.column_names]
    if not parts:
        return pa.nulls(rows.num_rows, pa.string())
    texts = [part.cast(pa.string()).combine_chunks() for part in parts]
    if len(texts) == 1:
        return texts[0]
    title = pc.if_else(pc.equal(texts[0], ""), pa.scalar(None, pa.string()), texts[0])
    both = pc.binary_join_element_wise(title, texts[1], separator)
    return pc.coalesce(both, texts[1], title)
