"""A Parquet footer, read before Arrow sees it: what a file holds, and whether it can be read.

Arrow takes its own schema from the footer's key-value metadata (``ARROW:schema``) and resolves
extension types that any library of the process has registered; Ray's runs a pickle when a value is
looked at. :meth:`ParquetFooter.plain` is the same footer in which no extension type can be
resolved: the columns are what is stored, and each field says in its metadata what it was declared
as. Lists of a fixed size and views are plain lists, text and bytes there.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np

from pipeline.storage.parquet.arrow_schema import safe_schema
from pipeline.storage.parquet.row_groups import (
    EncryptedError,
    FooterError,
    Ints,
    read_groups,
    refuse_overlaps,
    refuse_places,
)
from pipeline.storage.parquet.thrift import (
    Items,
    ThriftError,
    read_field,
    skip_value,
)
from pipeline.storage.parquet.thrift_structs import (
    PLAIN,
    Fields,
    Shape,
    integer,
    read_structs,
)

__all__ = ["EncryptedError", "FooterError", "Ints", "Leaf", "ParquetFooter", "parse_footer"]

#: A footer of a few hundred thousand column chunks; more is many tiny row groups.
MOST_FOOTER_BYTES: Final = 64 * 2**20

#: Columns, and groups of columns, of a schema.
MOST_COLUMNS: Final = 200_000

#: Items of all lists of a footer but its schema and chunks: some ten for each chunk (encodings,
#: names of its path, statistics of pages). Arrow takes up to eighty bytes for an item of one byte.
MOST_ITEMS: Final = 4_000_000

#: Levels of a column inside columns; Arrow's own limit.
DEEPEST_COLUMN: Final = 100

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)

_SCHEMA_KEY: Final = b"ARROW:schema"
_UNUSED_KEY: Final = b"ARROW.schema"

_UUID: Final = 14  # field ids of the union LogicalType in parquet.thrift
_JSON: Final = 12
_JSON_CONVERTED: Final = 19
_REPEATED: Final = 2
_REQUIRED: Final = 0

#: What is read of a SchemaElement, a ColumnChunk and a KeyValue (parquet.thrift).
_ELEMENT: Final[Shape] = {
    1: PLAIN, 2: PLAIN, 3: PLAIN, 4: PLAIN, 5: PLAIN, 6: PLAIN, 10: {_JSON: PLAIN, _UUID: PLAIN},
}  # fmt: skip
_ENTRY: Final[Shape] = {1: PLAIN, 2: PLAIN}


@dataclass(frozen=True)
class Leaf:
    """A column of values.

    Attributes:
        path: names from the top down.
        physical: type of the values as they are stored.
        length: bytes of a value of :data:`FIXED`.
        max_definition: highest definition level.
        max_repetition: highest repetition level; 0 outside lists.
        logical: ``uuid`` or ``json`` where the schema says so, else empty.
    """

    path: tuple[str, ...]
    physical: int
    length: int
    max_definition: int
    max_repetition: int
    logical: str = ""

    @property
    def dotted(self) -> str:
        """The path as Arrow takes it."""
        return ".".join(self.path)


@dataclass(frozen=True, kw_only=True)
class ParquetFooter:
    """What is needed to judge a file before it is read.

    Attributes:
        plain: the footer's bytes without resolvable extension types.
        leaves: the columns [C].
        rows: int64 [G], rows of each row group.
        starts: int64 [G, C], where each column chunk begins in the file.
        stored: int64 [G, C], its bytes in the file.
        unpacked: int64 [G, C], its bytes when decompressed, as the footer says.
        values: int64 [G, C], its values, nulls among them.
        codecs: int64 [G, C], how its pages are compressed.
        index_starts: int64 [G, C], where each column chunk's offset index begins.
        index_sizes: int64 [G, C], its bytes; 0 without one.
        pages: pages of a row group's column, kept by
            :func:`pipeline.storage.parquet.row_parts.located`.
    """

    plain: bytes = field(repr=False)
    leaves: tuple[Leaf, ...]
    rows: Ints
    starts: Ints
    stored: Ints
    unpacked: Ints
    values: Ints
    codecs: Ints
    index_starts: Ints
    index_sizes: Ints
    pages: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False, compare=False)

    def places(self, columns: Sequence[str]) -> Ints:
        """Places among :attr:`leaves` of what lies below some top-level columns."""
        wanted = set(columns)
        found = [place for place, leaf in enumerate(self.leaves) if leaf.path[0] in wanted]
        return np.array(found, dtype=np.int64)


@lru_cache(maxsize=4)  # a worker reads unit after unit of the same file
def parse_footer(data: bytes, file_size: int) -> ParquetFooter:
    """Read a footer.

    Args:
        data: its bytes, without length and magic number.
        file_size: bytes of the whole file; every column chunk must lie within it.

    Raises:
        EncryptedError: the file or a column of it is encrypted.
        FooterError: the footer is damaged.
    """
    try:
        return _parse(data, file_size)
    except ThriftError as error:
        raise FooterError(f"the footer is damaged: {error}") from error
    except (UnicodeDecodeError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise FooterError(f"the footer is damaged: {type(error).__name__} {error}") from error


def _parse(data: bytes, file_size: int) -> ParquetFooter:
    place = last = 0
    leaves: tuple[Leaf, ...] = ()
    entries: list[Fields] = []
    numbers = [array("q") for _ in range(8)]
    items = Items.up_to(MOST_ITEMS)
    while True:
        last, kind, place = read_field(data, place, last)
        if kind == 0:
            break
        if last == 2 and kind == 9:
            elements, place = read_structs(data, place, _ELEMENT, Items.up_to(MOST_COLUMNS))
            leaves = _leaves(elements)
        elif last == 4 and kind == 9:
            place = read_groups(data, place, numbers, len(leaves), items)
        elif last == 5 and kind == 9:
            entries, place = read_structs(data, place, _ENTRY, items)
        elif last == 8:
            raise EncryptedError("the file is encrypted")
        elif kind not in (1, 2):
            place = skip_value(data, place, kind, items)
    rows, *of_chunks = (np.frombuffer(flat, dtype=np.int64) for flat in numbers)
    shape = (len(rows), len(leaves))
    starts, stored, unpacked, values, codecs, index_starts, index_sizes = (
        flat.reshape(shape) for flat in of_chunks
    )
    refuse_places(rows, starts, stored, unpacked, values, file_size)
    refuse_overlaps(rows, starts, stored)
    return ParquetFooter(
        plain=_plain(data, entries), leaves=leaves, rows=rows, starts=starts,
        stored=stored, unpacked=unpacked, values=values, codecs=codecs,
        index_starts=index_starts, index_sizes=index_sizes,
    )  # fmt: skip


def _leaves(elements: Sequence[Fields]) -> tuple[Leaf, ...]:
    """The leaves of a schema that is given depth first, its root at the start."""
    if not elements:
        raise FooterError("the footer is damaged: it has no schema")
    leaves: list[Leaf] = []
    #: Groups that are open: children to come, path, definition and repetition level.
    groups: list[tuple[int, tuple[str, ...], int, int]] = [(integer(elements[0], 5, 0), (), 0, 0)]
    for element in elements[1:]:
        while groups and groups[-1][0] == 0:
            groups.pop()
        if not groups:
            raise FooterError("the footer is damaged: its schema has columns without a place")
        left, path, definition, repetition = groups.pop()
        groups.append((left - 1, path, definition, repetition))
        kind, children = integer(element, 3, _REQUIRED), integer(element, 5, 0)
        path = (*path, element[4].decode("utf-8"))
        if len(path) > DEEPEST_COLUMN:
            raise FooterError(
                f"its column '{path[0]}' is nested more than {DEEPEST_COLUMN} levels deep"
            )
        definition += kind != _REQUIRED
        repetition += kind == _REPEATED
        if 1 in element and not children:
            leaves.append(_leaf(element, path, definition, repetition))
        else:
            groups.append((children, path, definition, repetition))
    if any(left for left, *_ in groups):
        raise FooterError("the footer is damaged: its schema lacks columns")
    return tuple(leaves)


def _leaf(element: Fields, path: tuple[str, ...], definition: int, repetition: int) -> Leaf:
    physical, length = integer(element, 1), integer(element, 2, 0)
    if not BOOLEAN <= physical <= FIXED:
        raise FooterError(
            f"the footer is damaged: column '{'.'.join(path)}' is of physical type {physical}, "
            "which there is not"
        )
    return Leaf(path, physical, length, definition, repetition, _logical(element))


def _logical(element: Fields) -> str:
    union = element.get(10) or {}
    if _UUID in union:
        return "uuid"
    return "json" if _JSON in union or element.get(6) == _JSON_CONVERTED else ""


def _plain(data: bytes, entries: Sequence[Fields]) -> bytes:
    """The footer with Arrow's schema replaced by one that is safe to follow."""
    given = [entry.get(2, b"") for entry in entries if entry.get(1) == _SCHEMA_KEY]
    if not given:
        return data
    safe = safe_schema(given[0]) if len(given) == 1 else None
    if safe is None:
        # Not what any writer makes; without it, types follow from the Parquet schema alone.
        return data.replace(_SCHEMA_KEY, _UNUSED_KEY)
    return data.replace(given[0], safe)
