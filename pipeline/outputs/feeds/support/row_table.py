"""Rankings as a table with a row per (query, document), for stores that hold tables."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import FeedError
from pipeline.outputs.feeds.support.base import CHANGE, GONE, Delivery

#: What names a row.
KEYS: Final = (schema.QUERY_ID, schema.DOC_ID)
_OWN: Final = (*KEYS, schema.RANK, schema.SCORE, schema.REASON)


def row_schema(delivery: Delivery) -> pa.Schema:
    """Columns of the table: ids, ``rank``, ``score``, ``reason``, then the carried ones.

    Values that Arrow keeps in a dictionary are plain here: each part has a dictionary of its own.
    A delivery without parts does not know the types of a run's columns; :func:`reshaped` minds it.
    """
    if not delivery.schema.names:
        kinds = (pa.string(), pa.string(), pa.int32(), pa.float32(), pa.string())
        return pa.schema(list(zip(_OWN, kinds, strict=True)))
    names = [*_OWN, *delivery.columns]
    return pa.schema([pa.field(name, _plain(delivery.type_of(name))) for name in names])


def kept_rows(rows: pa.Table, delivery: Delivery) -> pa.Table:
    """The rows of a part that the table has afterwards, with its columns."""
    return all_rows(rows.filter(pc.not_equal(rows[CHANGE], GONE)), delivery)


def all_rows(rows: pa.Table, delivery: Delivery) -> pa.Table:
    """The rows of a part with the table's columns; those that are gone have no ``rank``."""
    wanted = row_schema(delivery)
    return rows.select(wanted.names).cast(wanted)


def expect_base(found: int | None, delivery: Delivery, *, feed: str, target: str) -> None:
    """Refuse changes to something else than what the target holds.

    Args:
        found: generation that the target holds; the delivery's own is let pass.
        delivery: that is to be applied.
        feed: its name.
        target: what was asked.

    Raises:
        FeedError: somebody else has switched the target meanwhile.
    """
    if delivery.full or found in (delivery.base, delivery.generation):
        return
    raise FeedError(
        f"feed '{feed}': {target} holds generation {found}, and the changes start from "
        f"{delivery.base}: somebody else has switched it meanwhile. Only one job may feed a "
        "target; feed again"
    )


def lost_parts(feed: str, target: str) -> FeedError:
    """The error for a target without some of the parts that it had taken."""
    return FeedError(
        f"feed '{feed}': {target} has lost parts that it had taken; was it restored to an earlier "
        "state? Feeding again begins anew"
    )


def reshaped(
    there: pa.Schema | dict[str, str],
    wanted: pa.Schema | dict[str, str],
    delivery: Delivery,
    *,
    feed: str,
    target: str,
) -> bool:
    """Whether a table has other columns than those of the generation.

    Where carried columns change, every row that stays is among the changes, so that the table can
    be made anew of them.

    Raises:
        FeedError: ids have another type.
    """
    if not delivery.schema.names:
        return False
    before, after = _types(there), _types(wanted)
    for key in KEYS:
        if before.get(key) != after[key]:
            raise FeedError(
                f"feed '{feed}': {key} of {target} is {before.get(key)}, and the run's is "
                f"{after[key]}. Remove {target} and feed again: it is loaded in full"
            )
    return before != after


def _types(columns: pa.Schema | dict[str, str]) -> dict[str, str]:
    if isinstance(columns, dict):
        return columns
    return {field.name: str(field.type) for field in columns}


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
