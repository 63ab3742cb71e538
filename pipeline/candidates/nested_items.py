"""The candidates of rows that hold a list each, in whichever of three shapes the lists are.

- a list of structs: what Arrow, Spark and DuckDB make of nested records;
- a struct of lists, one for each field: what the ``datasets`` library stores for a list of structs,
  such as ``passages`` of MS MARCO v2.1 on the Hugging Face hub;
- a list of texts, which has no ids.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.casting import Place
from pipeline.errors import InputContractError

Ints = npt.NDArray[np.int64]


def items_of(
    values: pa.Array, column: str, wanted: Collection[str], place: Place
) -> tuple[pa.Array, Ints]:
    """The candidates [N] of rows [R] as structs, and int64 [R], how many each row has.

    Args:
        values: the rows' lists; an array of nothing but nulls has no candidate.
        column: its name, for messages.
        wanted: fields that are used; of a struct of lists the others are left out.
        place: where the rows are from.

    Raises:
        InputContractError: the lists of a struct differ in length; names file, row and column.
    """
    if pa.types.is_null(values.type):
        return values.slice(0, 0), np.zeros(len(values), dtype=np.int64)
    if pa.types.is_struct(values.type):
        return _of_columns(values, column, wanted, place)
    values = _plain_list(values)
    items, counts = values.flatten(), _lengths(values)
    if not (pa.types.is_struct(items.type) or pa.types.is_null(items.type)):
        items = pa.StructArray.from_arrays([items], [schema.TEXT])
    return items, np.maximum(counts, 0)


def positions(counts: Ints) -> pa.Array:
    """string [N]: the place of each candidate in its list, from 0; ``counts`` [R] add up to N."""
    starts = np.cumsum(counts) - counts
    return pa.array(np.arange(int(counts.sum())) - np.repeat(starts, counts)).cast(pa.string())


def _of_columns(
    values: pa.Array, column: str, wanted: Collection[str], place: Place
) -> tuple[pa.Array, Ints]:
    fields = zip([field.name for field in values.type], values.flatten(), strict=True)
    lists = {name: _plain_list(inner) for name, inner in fields if name in wanted}
    lengths = {name: _lengths(inner) for name, inner in lists.items()}
    counts = np.maximum(np.max(list(lengths.values()), axis=0), 0)
    for name, of_field in lengths.items():
        different = np.flatnonzero((of_field != counts) & (of_field >= 0))
        if len(different):
            row = int(different[0])
            raise InputContractError(
                f"{place.path}, row {int(place.rows[row])}: the lists of column '{column}' differ "
                f"in length: '{name}' has {int(of_field[row])} items, another {int(counts[row])}; "
                "repair the row, or leave the field out"
            )
    arrays = [_filled(inner, lengths[name], counts) for name, inner in lists.items()]
    return pa.StructArray.from_arrays(arrays, list(lists)), counts


def _filled(values: pa.Array, lengths: Ints, counts: Ints) -> pa.Array:
    """The items of lists, with as many nulls in place of a null list as the others have items."""
    items = values.flatten()
    if (lengths == counts).all():
        return items
    own = np.maximum(lengths, 0)
    starts, total = np.cumsum(counts) - counts, int(counts.sum())
    places = np.arange(total) + np.repeat(np.cumsum(own) - own - starts, counts)
    return items.take(pa.array(places, mask=np.repeat(lengths < 0, counts)))


def _plain_list(values: pa.Array) -> pa.Array:
    if pa.types.is_list_view(values.type) or pa.types.is_large_list_view(values.type):
        return values.cast(pa.large_list(values.type.value_type))
    return values


def _lengths(values: pa.Array) -> Ints:
    """int64 [R]: items of each list, -1 where it is null."""
    lengths = pc.fill_null(pc.list_value_length(values), -1)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)
