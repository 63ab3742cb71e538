"""A unit's candidates as Arrow columns, and the tables that are written of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.distillation.rules import canonical
from pipeline.errors import InputContractError

Ints = npt.NDArray[np.int64]

#: One row per candidate that is neither positive nor negative.
REJECT_SCHEMA: Final = pa.schema(
    [
        pa.field(schema.QUERY_ID, pa.string()),
        pa.field(schema.DOC_ID, pa.string()),
        pa.field(schema.RANK, pa.int32()),
        pa.field(schema.SCORE, pa.float32()),
        pa.field(schema.REASON, pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Every document of a unit, as columns of [N]; the queries' lists are ranges of it.

    Attributes:
        doc_ids: string.
        texts: string.
        image_bytes: binary.
        image_uris: string.
        scores: float32, combined; NaN where there is none.
        ranks: int32 place in the list by combined score, 0 where there is none.
        relevance: int64; only where ``judged``.
        judged: bool.
    """

    doc_ids: pa.Array
    texts: pa.Array
    image_bytes: pa.Array
    image_uris: pa.Array
    scores: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.int32]
    relevance: Ints
    judged: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.doc_ids)

    def items(self, places: Ints, from_qrels: npt.NDArray[np.bool_]) -> pa.Array:
        """The documents at ``places`` as :data:`pipeline.distillation.rules.canonical.ITEM`."""
        taken = pa.array(places)
        scores, ranks = self.scores[places], self.ranks[places]
        relevance = self.relevance[places].astype(np.int32)
        source = np.where(from_qrels, canonical.FROM_QRELS, canonical.FROM_TEACHER)
        arrays = [
            self.doc_ids.take(taken),
            self.texts.take(taken),
            self.image_bytes.take(taken),
            self.image_uris.take(taken),
            pa.array(scores, pa.float32(), mask=np.isnan(scores)),
            pa.array(relevance, pa.int32(), mask=~self.judged[places]),
            pa.array(ranks, pa.int32(), mask=ranks == 0),
            pa.array(source.tolist(), pa.string()),
        ]
        return pa.StructArray.from_arrays(arrays, fields=list(canonical.ITEM))


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One query that is in the set, with places in its unit's pool, best first."""

    query: int
    positives: Sequence[int]
    from_qrels: Sequence[bool]
    negatives: Sequence[int]


def training_rows(queries: pa.Table, pool: Pool, chosen: Sequence[Chosen]) -> pa.Table:
    """The canonical rows of some queries.

    Args:
        queries: query_id, query and query_image of every query of the unit.
        pool: its documents.
        chosen: the queries to write, in order.
    """
    places = pa.array([query.query for query in chosen], pa.int64())
    taken = queries.take(places).combine_chunks()
    positives = [query.positives for query in chosen]
    negatives = [query.negatives for query in chosen]
    judged = np.array([flag for query in chosen for flag in query.from_qrels], dtype=bool)
    columns = {name: taken.column(name) for name in queries.column_names}
    columns[canonical.POSITIVES] = _lists(pool, positives, judged)
    flat = sum(len(one) for one in negatives)
    columns[canonical.NEGATIVES] = _lists(pool, negatives, np.zeros(flat, dtype=bool))
    return pa.table(columns, schema=canonical.SCHEMA)


def reject_rows(
    query_ids: pa.Array, query_of: Ints, pool: Pool, places: Ints, reasons: Sequence[str]
) -> pa.Table:
    """The rejected documents at ``places`` of the pool, of the query at ``query_of`` each."""
    scores, ranks = pool.scores[places], pool.ranks[places]
    return pa.table(
        {
            schema.QUERY_ID: query_ids.take(pa.array(query_of[places])),
            schema.DOC_ID: pool.doc_ids.take(pa.array(places)),
            schema.RANK: pa.array(ranks, pa.int32(), mask=ranks == 0),
            schema.SCORE: pa.array(scores, pa.float32(), mask=np.isnan(scores)),
            schema.REASON: pa.array(reasons, pa.string()),
        },
        schema=REJECT_SCHEMA,
    )


def split_images(values: pa.Array | None, count: int) -> tuple[pa.Array, pa.Array]:
    """Bytes (binary) and places (string) of an image column: bytes, a place, or both in a struct.

    Args:
        values: [count], or None where there is no such column.
        count: rows.

    Raises:
        InputContractError: the column is of another type.
    """
    if values is None or pa.types.is_null(values.type):
        return pa.nulls(count, pa.binary()), pa.nulls(count, pa.string())
    kind = values.type
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        found = {
            name: pc.struct_field(values, name) if name in names else None
            for name in ("bytes", "path")
        }
        data, place = found["bytes"], found["path"]
        return (
            pa.nulls(count, pa.binary()) if data is None else data.cast(pa.binary()),
            pa.nulls(count, pa.string()) if place is None else place.cast(pa.string()),
        )
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return values.cast(pa.binary()), pa.nulls(count, pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.nulls(count, pa.binary()), values.cast(pa.string())
    raise InputContractError(
        f"image column: expected bytes, a path or URI, or a struct of bytes and path; found {kind}"
    )


def _lists(
    pool: Pool, places: Sequence[Sequence[int]], from_qrels: npt.NDArray[np.bool_]
) -> pa.Array:
    offsets = np.append(0, np.cumsum([len(one) for one in places])).astype(np.int32)
    flat = np.array([place for one in places for place in one], dtype=np.int64)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pool.items(flat, from_qrels), type=pa.list_(canonical.ITEM)
    )
