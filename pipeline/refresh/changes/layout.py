"""Columns of changes, and which columns of two runs are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from pipeline import schema
from pipeline.errors import InputContractError

Change = Literal["new", "changed", "gone"]
NEW: Final = "new"
CHANGED: Final = "changed"
GONE: Final = "gone"
KINDS: Final[tuple[Change, ...]] = ("new", "changed", "gone")

#: Columns of a run that are neither compared nor part of changes. They say how a result came about,
#: not what it is: the first stage's scores differ with every document that its index gets.
LEFT_OUT: Final = (
    schema.FIRST_STAGE_RANK,
    schema.FIRST_STAGE_SCORE,
    *schema.TOKEN_COLUMNS,
    schema.CONTENT_KEY,
    schema.SCORED_AT,
)

#: Columns of changed rows before those that a run carries.
_OWN: Final = (
    schema.QUERY_ID,
    schema.DOC_ID,
    schema.CHANGE,
    schema.RANK,
    schema.SCORE,
    schema.PREVIOUS_RANK,
    schema.PREVIOUS_SCORE,
    schema.REASON,
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is compared of two runs, and the tables that come of it.

    Attributes:
        query_id: type of query ids in changes: that of both runs, or text where theirs differ.
        doc_id: likewise.
        carried: further columns of today's run, in its order.
        compared: those of them that both runs have with the same type.
        only_before: further columns that only the run before has, or has with another type.
        only_after: likewise of today's. A column in either makes every common row a changed one.
    """

    query_id: pa.DataType
    doc_id: pa.DataType
    carried: tuple[pa.Field, ...] = ()
    compared: tuple[str, ...] = ()
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()

    @property
    def reshaped(self) -> bool:
        """Whether the two runs carry other columns, so that all common rows count as changed."""
        return bool(self.only_before or self.only_after)

    @property
    def rows(self) -> pa.Schema:
        """A row per document that is new, changed or gone, by query id, rank, rank before.

        ``rank`` and ``score`` are null for a gone one, ``previous_rank`` and ``previous_score`` for
        a new one; ``reason`` and what follows are today's, null for a gone one. Scores are null
        where a run has none.
        """
        return pa.schema(
            [
                pa.field(schema.QUERY_ID, self.query_id, nullable=False),
                pa.field(schema.DOC_ID, self.doc_id, nullable=False),
                pa.field(schema.CHANGE, pa.string(), nullable=False),
                pa.field(schema.RANK, pa.int32()),
                pa.field(schema.SCORE, pa.float32()),
                pa.field(schema.PREVIOUS_RANK, pa.int32()),
                pa.field(schema.PREVIOUS_SCORE, pa.float32()),
                pa.field(schema.REASON, pa.string()),
                *self.carried,
            ]
        )

    @property
    def lists(self) -> pa.Schema:
        """A row per query with a row above, by query id: all its documents of today by rank.

        ``scores`` has an entry per document, null where there is no score; a query that is gone has
        two empty lists.
        """
        return pa.schema(
            [
                pa.field(schema.QUERY_ID, self.query_id, nullable=False),
                pa.field(schema.CHANGE, pa.string(), nullable=False),
                pa.field(schema.DOC_IDS, pa.list_(self.doc_id), nullable=False),
                pa.field(schema.SCORES, pa.list_(pa.float32()), nullable=False),
            ]
        )


def layout_of(before: pa.Schema | None, after: pa.Schema) -> Layout:
    """How the ranked rows of two runs are compared.

    Args:
        before: of the run before; None: there is none, and everything is new.
        after: of today's.

    Raises:
        InputContractError: today's run carries a column that has the name of one of ours.
    """
    taken = [name for name in _OWN if name not in schema.RANKED_COLUMNS and name in after.names]
    if taken:
        raise InputContractError(
            f"output.columns: '{taken[0]}' is the name of a column of changes; carry it under "
            "another name"
        )
    carried = _carried(after)
    known = carried if before is None else _carried(before)
    same = {n for n, field in carried.items() if n in known and known[n].equals(field)}
    return Layout(
        query_id=_id_type(before, after, schema.QUERY_ID),
        doc_id=_id_type(before, after, schema.DOC_ID),
        carried=tuple(carried.values()),
        compared=tuple(name for name in carried if name in same),
        only_before=tuple(name for name in known if name not in same),
        only_after=tuple(name for name in carried if name not in same),
    )


def read_columns(run: pa.Schema) -> list[str]:
    """The columns of a run's ranked files that changes need."""
    return [name for name in run.names if name not in LEFT_OUT]


def _carried(run: pa.Schema) -> dict[str, pa.Field]:
    """Nullable, since rows that are gone have no values of today."""
    names = [name for name in run.names if name not in (*LEFT_OUT, *schema.RANKED_COLUMNS)]
    return {name: pa.field(name, run.field(name).type) for name in names}


def _id_type(before: pa.Schema | None, after: pa.Schema, name: str) -> pa.DataType:
    kind = after.field(name).type
    return kind if before is None or before.field(name).type == kind else pa.string()
