"""The row groups of a footer: where their columns lie, and whether that can be."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.storage.parquet.thrift import (
    STRUCT,
    Items,
    read_field,
    read_list_head,
    read_signed,
    skip_value,
)
from pipeline.storage.parquet.thrift_structs import (
    PLAIN,
    Fields,
    Shape,
    integer,
    read_struct,
    struct,
)

#: Column chunks of all row groups; Arrow takes a kilobyte for each, however few bytes it has here.
MOST_CHUNKS: Final = 300_000

#: More rows than any file has; their numbers add up without running over.
MOST_ROWS: Final = 2**48

#: What is read of a ColumnChunk (parquet.thrift).
_CHUNK: Final[Shape] = {
    1: PLAIN, 3: {4: PLAIN, 5: PLAIN, 6: PLAIN, 7: PLAIN, 9: PLAIN, 11: PLAIN},
    4: PLAIN, 5: PLAIN, 8: PLAIN, 9: PLAIN,
}  # fmt: skip

#: The same with the statistics of a column alone: nulls, largest, smallest, and whether each of
#: the two is exact.
_STATISTICS: Final[Shape] = {3: {12: {3: PLAIN, 5: PLAIN, 6: PLAIN, 7: PLAIN, 8: PLAIN}}}

Ints = npt.NDArray[np.int64]


class FooterError(ValueError):
    """The footer is damaged, or of a file that cannot be read; the message says which."""


class EncryptedError(FooterError):
    """Some or all of the file is encrypted."""


def read_groups(
    data: bytes, place: int, numbers: Sequence[array[int]], leaves: int, items: Items
) -> int:
    """Add the numbers of every row group; returns the place after their list."""
    _, size, place = read_list_head(data, place)
    items.take(size)
    left = MOST_CHUNKS
    for _ in range(size):
        last, rows = 0, None
        while True:
            last, kind, place = read_field(data, place, last)
            if kind == 0:
                break
            if last == 1 and kind == 9:
                _, chunks, place = read_list_head(data, place)
                if chunks != leaves:
                    raise FooterError(
                        f"the footer is damaged: a row group has {chunks} columns, the schema "
                        f"{leaves}"
                    )
                left -= chunks
                if left < 0:
                    raise FooterError(
                        f"it has more than {MOST_CHUNKS:,} column chunks; write it with larger row "
                        "groups, or as several files"
                    )
                for _ in range(chunks):
                    chunk, place = read_struct(data, place, _CHUNK, items)
                    _add_chunk(numbers, chunk)
            elif last == 3 and kind == 6:
                rows, place = read_signed(data, place)
            elif kind not in (1, 2):
                place = skip_value(data, place, kind, items)
        if rows is None:
            raise FooterError(
                "the footer is damaged: a row group does not say how many rows it has"
            )
        numbers[0].append(rows)
    return place


def _add_chunk(numbers: Sequence[array[int]], chunk: Fields) -> None:
    _, starts, stored, unpacked, values, codecs, index_starts, index_sizes = numbers
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
    index_starts.append(integer(chunk, 4, 0))
    index_sizes.append(integer(chunk, 5, 0))


def refuse_places(
    rows: Ints, starts: Ints, stored: Ints, unpacked: Ints, values: Ints, file_size: int
) -> None:
    """Refuse negative sizes, columns outside the file, and fewer values than rows."""
    if any(bool((sizes < 0).any()) for sizes in (rows, starts, stored, unpacked, values)):
        raise FooterError("the footer is damaged: it holds negative sizes")
    # Compared without a sum, which could run over.
    if bool(((starts > file_size) | (stored > file_size - starts)).any()):
        raise FooterError("the footer is damaged: a column lies outside the file")
    if sum(rows.tolist()) > MOST_ROWS:
        raise FooterError("the footer is damaged: it says that there are more rows than can be")
    if bool((values < rows[:, None]).any()):
        raise FooterError("the footer is damaged: a column has fewer values than rows")


def refuse_overlaps(rows: Ints, starts: Ints, stored: Ints) -> None:
    """Refuse bytes that would be read as two columns, or as the rows of two row groups."""
    filled = (stored > 0) & (rows > 0)[:, None]
    begin, size = starts[filled], stored[filled]
    order = np.argsort(begin, kind="stable")
    begin, size = begin[order], size[order]
    if bool((begin[:-1] + size[:-1] > begin[1:]).any()):
        raise FooterError("the footer is damaged: columns or row groups of it overlap")


def read_statistics(data: bytes, column: int, most_items: int) -> list[Fields]:
    """Statistics of one column in every row group (parquet.thrift), by field id; empty without.

    Args:
        data: bytes of a footer that has been read.
        column: its place among the leaves.
        most_items: of all lists together.

    Raises:
        ThriftError: the bytes are no footer.
    """
    found: list[Fields] = []
    items = Items.up_to(most_items)
    last = place = 0
    while last != 4:
        last, kind, place = read_field(data, place, last)
        if last != 4 and kind not in (1, 2):
            place = skip_value(data, place, kind, items)
    _, groups, place = read_list_head(data, place)
    for _ in range(groups):
        last = 0
        while True:
            last, kind, place = read_field(data, place, last)
            if kind == 0:
                break
            if last == 1 and kind == 9:
                _, chunks, place = read_list_head(data, place)
                for number in range(chunks):
                    if number == column:
                        chunk, place = read_struct(data, place, _STATISTICS, items)
                        about = struct(chunk, 3).get(12)
                        found.append(about if isinstance(about, dict) else {})
                    else:
                        place = skip_value(data, place, STRUCT, items)
            elif kind not in (1, 2):
                place = skip_value(data, place, kind, items)
    return found
