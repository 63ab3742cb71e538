"""Documents and queries beside the ids of candidates, and why a candidate lacks one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.staging.lookup import Ints, Lookup, key_text

#: Bytes that candidates become at once, as far as documents are of one size.
_PIECE_BYTES: Final = 32 << 20

#: What a corpus says of a document whatever the candidates say; other columns are theirs.
CONTENT: Final = (schema.TITLE, schema.TEXT, schema.IMAGE)

#: The same of queries.
QUERY_CONTENT: Final = (schema.QUERY, schema.QUERY_IMAGE)


def attached(
    rows: pa.Table, *, corpus: Lookup | None = None, queries: Lookup | None = None
) -> Iterator[pa.Table]:
    """Candidates [N] with what they refer to, in order and in pieces of a bounded size.

    Args:
        rows: candidates as they were read.
        corpus: their documents; None: they have them, or get them elsewhere.
        queries: likewise.
    """
    size = sum(lookup.row_bytes for lookup in (corpus, queries) if lookup is not None)
    step = int(max(1, min(_PIECE_BYTES / max(size, 1.0), 1 << 17)))
    for start in range(0, rows.num_rows, step):
        piece = rows.slice(start, step).combine_chunks()
        if queries is not None:
            places = queries.places(key_text(piece.column(schema.QUERY_ID)))
            piece = beside(
                piece, queries, places, of=schema.QUERY_ID, missing=reasons.MISSING_QUERY,
                content=QUERY_CONTENT,
            )  # fmt: skip
        if corpus is not None:
            places = corpus.places(key_text(piece.column(schema.DOC_ID)))
            piece = beside(
                piece, corpus, places, of=schema.DOC_ID, missing=reasons.MISSING_DOCUMENT,
                content=CONTENT,
            )  # fmt: skip
        yield piece


def beside(
    rows: pa.Table, lookup: Lookup, places: Ints, *, of: str, missing: str,
    content: Sequence[str],
) -> pa.Table:  # fmt: skip
    """Candidates [N] with the columns of the rows at ``places`` [N].

    A reason that a candidate has already stays.

    Args:
        rows: candidates.
        lookup: what they refer to.
        places: by :meth:`Lookup.places`.
        of: the column with the id, for messages.
        missing: reason of a candidate whose id is not there.
        content: columns that replace the candidates' own.
    """
    names = attached_names(rows.column_names, lookup.rows.column_names, content)
    taken = lookup.take([*names, *_told(lookup.rows)], places)
    reason = taken.pop(schema.REASON, pa.nulls(len(places), pa.string())).cast(pa.string())
    message = taken.pop(schema.MESSAGE, pa.nulls(len(places), pa.string())).cast(pa.string())
    absent = pa.array(places < 0)
    known = pc.is_valid(rows.column(of)).combine_chunks()
    gone = pc.and_(absent, known)
    own_reason, own_message = (_text(rows, name) for name in (schema.REASON, schema.MESSAGE))
    free = pc.is_null(own_reason)
    found = pc.if_else(gone, missing, reason)
    told = pc.if_else(gone, _naming(rows.column(of), missing), message)
    for name, values in (
        (schema.REASON, pc.if_else(free, found, own_reason)),
        (schema.MESSAGE, pc.if_else(free, told, own_message)),
        *taken.items(),
    ):
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, values)
        else:
            rows = rows.append_column(name, values)
    return rows


def attached_names(own: Sequence[str], theirs: Sequence[str], content: Sequence[str]) -> list[str]:
    """Columns of a corpus or of queries that candidates get."""
    told = (schema.REASON, schema.MESSAGE)
    return [
        name
        for name in theirs
        if not name.startswith("_") and name not in told and (name in content or name not in own)
    ]


def _told(rows: pa.Table) -> list[str]:
    return [name for name in (schema.REASON, schema.MESSAGE) if name in rows.column_names]


def _text(rows: pa.Table, name: str) -> pa.Array:
    if name not in rows.column_names:
        return pa.nulls(rows.num_rows, pa.string())
    column = rows.column(name).cast(pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _naming(ids: pa.ChunkedArray, missing: str) -> pa.Array:
    """What is said of candidates whose document or query is not there."""
    what, where = (
        ("doc_id", "input.corpus") if missing == reasons.MISSING_DOCUMENT
        else ("query_id", "input.queries")
    )  # fmt: skip
    texts = key_text(ids)
    return (
        pc.binary_join_element_wise(
            f"{where} has no {what} '", texts, "'", "", null_handling="emit_null"
        ).cast(pa.string())
        if len(np.asarray(texts))
        else pa.nulls(0, pa.string())
    )
