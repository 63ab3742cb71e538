"""Columns put together of arrays that hold one of their leaves each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.storage.parquet.footer import FooterError


def can_be_merged(kind: pa.DataType) -> bool:
    """Whether a column of this type can be read leaf by leaf: it has no map inside."""
    if pa.types.is_map(kind):
        return False
    return all(can_be_merged(kind.field(place).type) for place in range(kind.num_fields))


def merged(kind: pa.DataType, parts: Sequence[pa.Array]) -> pa.Array:
    """One array of a type from arrays [N] of the same rows, each with some of its leaves.

    Raises:
        FooterError: they are not of the same lists.
    """
    if pa.types.is_struct(kind):
        return _merged_structs(kind, parts)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _merged_lists(kind, parts)
    [only] = parts
    return only


def _merged_structs(kind: pa.DataType, parts: Sequence[pa.Array]) -> pa.Array:
    children: dict[str, list[pa.Array]] = {field.name: [] for field in kind}
    for part in parts:
        for field, array in zip(part.type, part.flatten(), strict=True):
            children[field.name].append(array)
    made = [merged(field.type, children[field.name]) for field in kind]
    fields = [field.with_type(array.type) for field, array in zip(kind, made, strict=True)]
    return pa.StructArray.from_arrays(made, fields=fields, mask=pc.is_null(parts[0]))


def _merged_lists(kind: pa.DataType, parts: Sequence[pa.Array]) -> pa.Array:
    first, *others = (pc.list_value_length(part) for part in parts)
    if any(not lengths.equals(first) for lengths in others):
        raise FooterError("the columns inside a list are of lists of different lengths")
    items = merged(kind.value_type, [part.flatten() for part in parts])
    lengths = pc.fill_null(first, 0).to_numpy(zero_copy_only=False)
    offsets = np.append(0, np.cumsum(lengths, dtype=np.int64))
    large = pa.types.is_large_list(kind)
    made = pa.LargeListArray if large else pa.ListArray
    return made.from_arrays(
        pa.array(offsets, pa.int64() if large else pa.int32()), items,
        type=type_with(kind, items.type), mask=pc.is_null(parts[0]),
    )  # fmt: skip


def type_with(kind: pa.DataType, inner: pa.DataType) -> pa.DataType:
    """A list type whose items are of another type."""
    field = kind.value_field.with_type(inner)
    return pa.large_list(field) if pa.types.is_large_list(kind) else pa.list_(field)
