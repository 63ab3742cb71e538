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
import numpy.typing as npt

from pipeline.storage.parquet.arrow_schema import safe_schema
from pipeline.storage.parquet.thrift import (
    Fields,
    ThriftError,
    read_field,
    read_list_head,
    read_struct,
    read_value,
)

#: A footer of a few hundred thousand column chunks; more is many tiny row groups.
MOST_FOOTER_BYTES: Final = 64 * 2**20

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)

_SCHEMA_KEY: Final = b"ARROW:schema"
_UNUSED_KEY: Final = b"ARROW.schema"

_UUID: Final = 14  # field ids of the union LogicalType in parquet.thrift
_JSON: Final = 12
_JSON_CONVERTED: Final = 19
_REPEATED: Final = 2
_REQUIRED: Final = 0

Ints = npt.NDArray[np.int64]


class FooterError(ValueError):
    """The footer is damaged, or of a file that cannot be read; the message says which."""


class EncryptedError(FooterError):
    """Some or all of the file is encrypted."""


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
        chunks: ColumnChunk of parquet.thrift by row group, kept by
            :func:`pipeline.storage.parquet.page_rows.chunk_of`.
        pages: pages of a row group's column, kept by
            :func:`pipeline.storage.parquet.row_parts.located`.
        statistics: [G][C], Statistics of parquet.thrift by field id; None where there are none.
    """

    plain: bytes = field(repr=False)
    leaves: tuple[Leaf, ...]
    rows: Ints
    starts: Ints
    stored: Ints
    unpacked: Ints
    values: Ints
    codecs: Ints
    chunks: dict[int, list[Fields]] = field(default_factory=dict, repr=False, compare=False)
    pages: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False, compare=False)
    statistics: tuple[tuple[Fields | None, ...], ...] = field(default=(), repr=False)

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
    numbers = [array("q") for _ in range(6)]
    statistics: list[tuple[Fields | None, ...]] = []
    while True:
        last, kind, place = read_field(data, place, last)
        if kind == 0:
            break
        if last == 2 and kind == 9:
            elements, place = read_value(data, place, kind)
            leaves = _leaves(elements)
        elif last == 4 and kind == 9:
            _, size, place = read_list_head(data, place)
            for _ in range(size):
                group, place = read_struct(data, place)
                _add_group(numbers, group, len(leaves))
                statistics.append(tuple(_statistics(chunk) for chunk in group.get(1, [])))
        elif last == 8:
            raise EncryptedError("the file is encrypted")
        elif kind in (1, 2):
            continue
        else:
            value, place = read_value(data, place, kind)
            if last == 5:
                entries = value
    rows, *of_chunks = (np.frombuffer(flat, dtype=np.int64) for flat in numbers)
    shape = (len(rows), len(leaves))
    starts, stored, unpacked, values, codecs = (flat.reshape(shape) for flat in of_chunks)
    _refuse_nonsense(rows, starts, stored, unpacked, values, file_size)
    return ParquetFooter(
        plain=_plain(data, entries), leaves=leaves, rows=rows, starts=starts,
        stored=stored, unpacked=unpacked, values=values, codecs=codecs,
        statistics=tuple(statistics),
    )  # fmt: skip


def _leaves(elements: Sequence[Fields]) -> tuple[Leaf, ...]:
    """The leaves of a schema that is given depth first, its root at the start."""
    if not elements:
        raise FooterError("the footer is damaged: it has no schema")
    leaves: list[Leaf] = []
    #: Groups that are open: children to come, path, definition and repetition level.
    groups: list[tuple[int, tuple[str, ...], int, int]] = [(elements[0].get(5, 0), (), 0, 0)]
    for element in elements[1:]:
        while groups and groups[-1][0] == 0:
            groups.pop()
        if not groups:
            raise FooterError("the footer is damaged: its schema has columns without a place")
        left, path, definition, repetition = groups.pop()
        groups.append((left - 1, path, definition, repetition))
        kind = element.get(3, _REQUIRED)
        path = (*path, element[4].decode("utf-8"))
        definition += kind != _REQUIRED
        repetition += kind == _REPEATED
        if 1 in element and not element.get(5):
            leaves.append(
                Leaf(path, element[1], element.get(2, 0), definition, repetition, _logical(element))
            )
        else:
            groups.append((element.get(5, 0), path, definition, repetition))
    if any(left for left, *_ in groups):
        raise FooterError("the footer is damaged: its schema lacks columns")
    return tuple(leaves)


def _logical(element: Fields) -> str:
    union = element.get(10) or {}
    if _UUID in union:
        return "uuid"
    return "json" if _JSON in union or element.get(6) == _JSON_CONVERTED else ""


def _add_group(numbers: Sequence[array[int]], group: Fields, leaves: int) -> None:
    rows, starts, stored, unpacked, values, codecs = numbers
    chunks = group.get(1, [])
    if len(chunks) != leaves:
        raise FooterError(
            f"the footer is damaged: a row group has {len(chunks)} columns, the schema {leaves}"
        )
    rows.append(group[3])
    for chunk in chunks:
        if 8 in chunk or 9 in chunk:
            raise EncryptedError("some of its columns are encrypted")
        if chunk.get(1):
            raise FooterError("its columns lie in other files, which is not read")
        about: dict[int, Any] = chunk[3]
        first, dictionary = about[9], about.get(11, 0)
        # As Arrow does: an offset of 0 says that there is no dictionary page.
        starts.append(dictionary if 0 < dictionary < first else first)
        stored.append(about[7])
        unpacked.append(about[6])
        values.append(about[5])
        codecs.append(about[4])


def _statistics(chunk: Fields) -> Fields | None:
    found = chunk[3].get(12)
    return found if isinstance(found, dict) else None


def _refuse_nonsense(
    rows: Ints, starts: Ints, stored: Ints, unpacked: Ints, values: Ints, file_size: int
) -> None:
    if any(bool((sizes < 0).any()) for sizes in (rows, starts, stored, unpacked, values)):
        raise FooterError("the footer is damaged: it holds negative sizes")
    # Compared without a sum, which could run over.
    if bool(((starts > file_size) | (stored > file_size - starts)).any()):
        raise FooterError("the footer is damaged: a column lies outside the file")
    if bool((values < rows[:, None]).any()):
        raise FooterError("the footer is damaged: a column has fewer values than rows")


def _plain(data: bytes, entries: Sequence[Fields]) -> bytes:
    """The footer with Arrow's schema replaced by one that is safe to follow."""
    for entry in entries:
        if entry.get(1) != _SCHEMA_KEY:
            continue
        value = entry.get(2, b"")
        safe = safe_schema(value)
        if safe is None:
            # Not what any writer makes; without it, types follow from the Parquet schema alone.
            return data.replace(_SCHEMA_KEY, _UNUSED_KEY)
        data = data.replace(value, safe)
    return data
