"""How many bytes decoded values take in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.storage.parquet.footer import FIXED, Leaf

#: Bytes of a value by physical type: boolean, int32, int64, int96, float, double, offsets.
_WIDTHS: Final = (1, 4, 8, 8, 4, 8, 4)


def width_of(leaf: Leaf) -> int:
    """Bytes that a value takes in memory, null or not: its own, or its offset, and its levels."""
    value = leaf.length if leaf.physical == FIXED else _WIDTHS[leaf.physical]
    return value + (leaf.max_definition > 0) + (4 if leaf.max_repetition > 0 else 0)


def unfolded_bytes(column: pa.Array) -> int:
    """Bytes that the dictionaries inside a column become when they are replaced by their values."""
    total = 0
    for array in _dictionaries(column):
        lengths = _value_lengths(array.dictionary)
        total += int(pc.sum(lengths.take(array.indices.drop_null())).as_py() or 0)
    return total


def _dictionaries(column: pa.Array) -> Iterator[pa.DictionaryArray]:
    if pa.types.is_dictionary(column.type):
        yield column
    elif pa.types.is_struct(column.type):
        for inner in column.flatten():
            yield from _dictionaries(inner)
    elif pa.types.is_map(column.type):
        yield from _dictionaries(column.keys)
        yield from _dictionaries(column.items)
    elif column.type.num_fields:
        yield from _dictionaries(column.flatten())


def _value_lengths(dictionary: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_binary(dictionary.type):
        return pa.array([dictionary.type.byte_width] * len(dictionary), pa.int64())
    return pc.fill_null(pc.binary_length(dictionary), 0).cast(pa.int64())
