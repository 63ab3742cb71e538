"""The smallest and largest id of each row group, as far as a footer states them exactly.

Statistics are the writer's word. Text may be cut short in them (parquet.thrift,
``is_max_value_exact``), so a value that is not said to be exact is only taken where it is too short
for any writer to have cut it. The deprecated fields ``min`` and ``max`` are never taken: what they
compare by is not defined.
"""

from __future__ import annotations

import uuid as uuids
from typing import Final, NamedTuple

import pyarrow as pa

from pipeline.storage.parquet.footer import (
    BYTE_ARRAY,
    FIXED,
    INT32,
    INT64,
    MOST_ITEMS,
    Leaf,
    ParquetFooter,
)
from pipeline.storage.parquet.row_groups import read_statistics
from pipeline.storage.parquet.thrift_structs import Fields

#: Writers that cut text in statistics keep 16 bytes at least (parquet-mr's column indexes, Iceberg;
#: parquet-rs and Polars keep 64).
_NEVER_CUT: Final = 16

_NULLS, _HIGH, _LOW, _HIGH_EXACT, _LOW_EXACT = 3, 5, 6, 7, 8  # parquet.thrift, Statistics


class ValueRange(NamedTuple):
    """What is known of the ids of one row group.

    Attributes:
        stored: bytes of the column in the file.
        nulls: how many ids are null; None where that is not stated.
        low: the smallest id that is not null; None where it is not stated exactly.
        high: the largest one; both are known or neither is.
    """

    stored: int
    nulls: int | None = None
    low: int | str | None = None
    high: int | str | None = None


def value_ranges(footer: ParquetFooter, field: pa.Field, *, uuid: bool) -> tuple[ValueRange, ...]:
    """The range of each row group.

    Args:
        footer: of the file.
        field: a top-level column of integers or text, as Arrow reads it.
        uuid: whether it holds UUIDs in 16 bytes.
    """
    places = [place for place, leaf in enumerate(footer.leaves) if leaf.path == (field.name,)]
    if len(places) != 1:
        return ()
    [place] = places
    leaf = footer.leaves[place]
    unsigned = pa.types.is_unsigned_integer(field.type)
    return tuple(
        range_of(int(stored), of_group, leaf, unsigned=unsigned, uuid=uuid)
        for stored, of_group in zip(
            footer.stored[:, place],
            read_statistics(footer.plain, place, MOST_ITEMS),
            strict=True,
        )
    )


def range_of(stored: int, found: Fields, leaf: Leaf, *, unsigned: bool, uuid: bool) -> ValueRange:
    """The range that the statistics of a column chunk state.

    Args:
        stored: bytes of the chunk.
        found: Statistics of parquet.thrift by field id.
        leaf: its column.
        unsigned: whether its numbers are.
        uuid: whether it holds UUIDs in 16 bytes.
    """
    nulls = found.get(_NULLS)
    nulls = nulls if isinstance(nulls, int) and nulls >= 0 else None
    low = _value(found.get(_LOW), found.get(_LOW_EXACT), leaf, unsigned=unsigned, uuid=uuid)
    high = _value(found.get(_HIGH), found.get(_HIGH_EXACT), leaf, unsigned=unsigned, uuid=uuid)
    if low is None or high is None:
        return ValueRange(stored, nulls)
    return ValueRange(stored, nulls, low, high)


def _value(
    raw: object, exact: object, leaf: Leaf, *, unsigned: bool, uuid: bool
) -> int | str | None:
    """One end of a range; None where it is not there, or may be no value of the column."""
    if not isinstance(raw, bytes):
        return None
    if leaf.physical in (INT32, INT64):
        fits = len(raw) == (4 if leaf.physical == INT32 else 8)
        return int.from_bytes(raw, "little", signed=not unsigned) if fits else None
    if leaf.physical == FIXED and uuid and len(raw) == 16:
        return str(uuids.UUID(bytes=raw))
    if leaf.physical != BYTE_ARRAY or (exact is not True and len(raw) >= _NEVER_CUT):
        return None
    try:
        return raw.decode("utf-8") if exact is not False else None
    except UnicodeDecodeError:
        return None
