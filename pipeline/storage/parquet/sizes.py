"""How many bytes decoded values take in memory, and whether that is too much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.storage.parquet.footer import FIXED, Leaf
from pipeline.storage.parquet.limits import DecodeBudget, refuse_expansion
from pipeline.storage.parquet.pages import ChunkPages

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


def refuse_pages(
    leaves: Sequence[Leaf], pages: Sequence[ChunkPages], budget: DecodeBudget, where: str
) -> None:
    """Refuse what a row group needs at least: its pages while they are decoded, and plain values.

    Args:
        leaves: columns that are read.
        pages: those of each.
        budget: of the reader; knows how much is stored.
        where: file and row group.

    Raises:
        ExpansionError: names the column with the most.
    """
    if pages:
        large = max(zip(leaves, pages, strict=True), key=lambda pair: pair[1].unpacked)[0]
        where = f"{where}, column '{large.dotted}' most of it"
    budget.refuse(sum(page.largest + page.dictionary for page in pages), where)
    plain = sum(page.unpacked + page.repeated for page in pages)
    fixed = sum(page.values * width_of(leaf) for leaf, page in zip(leaves, pages, strict=True))
    # A reader may keep a small part of a row group, so this is held against the file alone.
    refuse_expansion(max(plain, fixed), budget.stored, where, limit=budget.max_expansion)
