"""A part of a staged copy as Parquet; the same rows in the same order give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.candidates.reasons import counts
from pipeline.staging.attaching import CONTENT, QUERY_CONTENT, attached
from pipeline.staging.clustering import Ints
from pipeline.staging.lookup import PLACES, Lookup

#: Rows of a row group at most, and its bytes as far as rows are of one size. Units begin and end
#: where row groups do, so that none is decoded twice.
_GROUP_ROWS: Final = 1 << 16
_GROUP_BYTES: Final = 32 << 20

#: Bytes of a value beside its text: an offset, or a number.
_FIXED_BYTES: Final = 8.0


@dataclass(frozen=True, kw_only=True)
class PartBytes:
    """A part that is made.

    Attributes:
        data: the file.
        rows: candidates.
        left_out: rows of queries without candidates that have some elsewhere.
        queries: runs of one query.
        size: bytes in memory.
        reasons: rows that cannot be scored, by reason.
    """

    data: bytes
    rows: int
    left_out: int
    queries: int
    size: int
    reasons: dict[str, int]


def part_bytes(
    rows: pa.Table,
    order: Ints,
    queries: int,
    layout: pa.Schema,
    *,
    left_out: int = 0,
    corpus: Lookup | None = None,
    lookup: Lookup | None = None,
) -> PartBytes:
    """The file of some candidates.

    Only ids are moved about; documents join them a row group at a time.

    Args:
        rows: candidates [N].
        order: int64 [N], which stand in the part, in order.
        queries: how many queries they are of.
        left_out: rows that are counted, but stand in no part.
        layout: columns of the copy.
        corpus: their documents, where they do not have them.
        lookup: their queries, likewise.
    """
    sink = pa.BufferOutputStream()
    reasons: dict[str, int] = {}
    size = 0
    with pq.ParquetWriter(sink, layout, compression="zstd", write_page_checksum=True) as writer:
        for group in _groups(rows, order, corpus, lookup, layout):
            writer.write_table(group, row_group_size=max(1, group.num_rows))
            size += int(sizes_of(group).sum())
            for code, number in counts(group.column(schema.REASON)).items():
                reasons[code] = reasons.get(code, 0) + number
    return PartBytes(
        data=bytes(sink.getvalue()), rows=len(order), left_out=left_out, queries=queries, size=size,
        reasons=dict(sorted(reasons.items())),
    )  # fmt: skip


def _groups(
    rows: pa.Table, order: Ints, corpus: Lookup | None, lookup: Lookup | None, layout: pa.Schema
) -> Iterator[pa.Table]:
    """Row groups in order; where they end follows from their rows alone."""
    waiting: list[pa.Table] = []
    size = count = 0.0
    for piece in _pieces(rows, order, corpus, lookup, layout):
        sizes = sizes_of(piece)
        start = 0
        for row, bytes_ in enumerate(sizes.tolist()):
            if count and (size + bytes_ > _GROUP_BYTES or count + 1 > _GROUP_ROWS):
                yield pa.concat_tables([*waiting, piece.slice(start, row - start)])
                waiting, start, size, count = [], row, 0, 0
            size, count = size + bytes_, count + 1
        waiting.append(piece.slice(start))
    if count:
        yield pa.concat_tables(waiting)


def _pieces(
    rows: pa.Table, order: Ints, corpus: Lookup | None, lookup: Lookup | None, layout: pa.Schema
) -> Iterator[pa.Table]:
    """The rows in order, each with everything, a bounded number at a time."""
    per_row = rows.nbytes / max(1, rows.num_rows)
    step = int(max(1, min(_GROUP_ROWS, _GROUP_BYTES / max(per_row, 1.0))))
    for start in range(0, len(order), step):
        taken = rows.take(pa.array(order[start : start + step]))
        for piece in attached(taken, corpus=corpus, queries=lookup):
            yield conformed(piece, layout)


def conformed(rows: pa.Table, layout: pa.Schema) -> pa.Table:
    """Rows with the columns of a layout; those that they lack are null."""
    arrays: list[Any] = []
    for field in layout:
        if field.name in rows.column_names:
            arrays.append(rows.column(field.name).cast(field.type))
        else:
            arrays.append(pa.nulls(rows.num_rows, field.type))
    return pa.table(arrays, schema=layout)


def copy_layout(
    candidates: pa.Schema, corpus: pa.Schema | None, queries: pa.Schema | None
) -> pa.Schema:
    """Columns of a staged copy: ids, query, document, what is passed through, and reasons.

    Args:
        candidates: as they are read; places and the like are no part of the copy.
        corpus: likewise, without its ids; what it has in common with candidates wins.
        queries: likewise.
    """
    kinds: dict[str, pa.DataType] = {}
    for source in (queries, corpus):
        kinds |= {field.name: field.type for field in source or ()}
    given = {field.name: field.type for field in candidates}
    content = {*(CONTENT if corpus is not None else ())}
    content |= {*(QUERY_CONTENT if queries is not None else ())}
    kinds = given | {
        name: kind for name, kind in kinds.items() if name in content or name not in given
    }
    ours = (schema.QUERY_ID, schema.QUERY, schema.DOC_ID, schema.TITLE, schema.TEXT)
    told = (schema.REASON, schema.MESSAGE)
    left = [n for n in kinds if not n.startswith("_") and n not in (*ours, *told, *PLACES)]
    names = [name for name in ours if name in kinds] + left
    fields = [pa.field(name, _stored(kinds[name])) for name in names]
    return pa.schema([*fields, *(pa.field(name, pa.string()) for name in told)])


def _stored(kind: pa.DataType) -> pa.DataType:
    """A type that every part can have: nothing but nulls is text, and wide text is text again."""
    if pa.types.is_dictionary(kind):
        return _stored(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_large_string(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) else kind


def sizes_of(rows: pa.Table) -> npt.NDArray[np.float64]:
    """float64 [N]: about how many bytes each row takes in memory."""
    sizes = np.zeros(rows.num_rows)
    for column in rows.columns:
        sizes += _sizes(column)
    return sizes


def _sizes(column: pa.ChunkedArray | pa.Array) -> Any:
    kind = column.type
    if pa.types.is_struct(kind):
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        return sum((_sizes(inner) for inner in column.flatten()), np.zeros(len(column)))
    try:
        lengths = pc.fill_null(pc.binary_length(column), 0)
    except pa.ArrowNotImplementedError:
        return np.full(len(column), _FIXED_BYTES)
    return lengths.to_numpy() + _FIXED_BYTES
