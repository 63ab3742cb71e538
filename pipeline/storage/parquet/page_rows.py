"""Where the pages of a column chunk lie and which rows they hold, so that others can be passed by.

A writer may say so in an offset index (parquet.thrift, ``OffsetIndex``; parquet-mr and parquet-rs
write one, Arrow where it is asked to). Where there is none, the headers of the pages of a column
outside lists say it as well, for each of their values is a row. Pages inside lists hold values of
unknown rows, and may begin in the middle of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

from pipeline.storage.parquet.footer import Ints, ParquetFooter
from pipeline.storage.parquet.pages import HEADER, MOST_HEADER_ITEMS, MOST_PAGES, data_page
from pipeline.storage.parquet.thrift import Items, ThriftError
from pipeline.storage.parquet.thrift_structs import PLAIN, Shape, integer, read_struct

#: Bytes that are read at once in search of page headers.
_WINDOW: Final = 2**20

#: An offset index takes some 15 bytes a page.
_MOST_INDEX_BYTES: Final = 32 * MOST_PAGES

#: Ids of parquet.thrift, PageLocation; and what is read of an OffsetIndex.
_PAGE_START, _PAGE_SIZE, _FIRST_ROW = 1, 2, 3
_INDEX: Final[Shape] = {1: {_PAGE_START: PLAIN, _PAGE_SIZE: PLAIN, _FIRST_ROW: PLAIN}}


@dataclass(frozen=True, kw_only=True)
class PageRows:
    """The data pages [P] of one column chunk.

    Attributes:
        start: where the chunk begins; what lies before the first data page is its dictionary.
        starts: int64 [P], where each page begins in the file.
        stops: int64 [P], where it ends.
        rows: int64 [P + 1], the first row of each, and the number of rows of the row group.
    """

    start: int
    starts: Ints
    stops: Ints
    rows: Ints


def can_be_located(footer: ParquetFooter, group: int, place: int) -> bool:
    """Whether the pages of a column chunk can be located; reads nothing."""
    return not footer.leaves[place].max_repetition or _has_index(footer, group, place)


def locate_pages(
    source: BinaryIO, footer: ParquetFooter, group: int, place: int
) -> PageRows | None:
    """The pages of a column chunk; None where nothing says where they are, or says it wrongly.

    Args:
        source: the file.
        footer: its footer.
        group: the row group.
        place: the column among the footer's leaves.
    """
    start = int(footer.starts[group, place])
    stop = start + int(footer.stored[group, place])
    rows = int(footer.rows[group])
    try:
        if _has_index(footer, group, place):
            source.seek(int(footer.index_starts[group, place]))
            found = list(_indexed(source.read(int(footer.index_sizes[group, place]))))
        elif not footer.leaves[place].max_repetition:
            found = list(_walked(source, start, stop, rows))
        else:
            return None
        places = np.array(found, dtype=np.int64).reshape(-1, 3)
    except (ThriftError, OverflowError, TypeError, AttributeError):
        return None  # no index, or one of other things than pages
    return _checked(places, start, stop, rows)


def _has_index(footer: ParquetFooter, group: int, place: int) -> bool:
    start = footer.index_starts[group, place]
    return bool(start >= 0 and 0 < footer.index_sizes[group, place] <= _MOST_INDEX_BYTES)


def _indexed(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, stop and first row of each page by the bytes of an offset index."""
    index, _ = read_struct(data, 0, _INDEX, Items.up_to(MOST_PAGES))
    for page in index.get(1, ()):
        start = integer(page, _PAGE_START)
        yield start, start + integer(page, _PAGE_SIZE), integer(page, _FIRST_ROW)


def _walked(source: BinaryIO, start: int, stop: int, rows: int) -> Iterator[tuple[int, int, int]]:
    """The same by the pages' headers, of a column whose values are rows."""
    window, begins, row = b"", start, 0
    while start < stop and row < rows:
        try:
            header, after = read_struct(
                window, start - begins, HEADER, Items.up_to(MOST_HEADER_ITEMS)
            )
        except ThriftError:
            if begins == start and len(window) > 0:
                raise  # a whole window from here on is not enough
            source.seek(start)
            window, begins = source.read(min(_WINDOW, stop - start)), start
            continue
        end = begins + after + integer(header, 3)
        about = data_page(header)
        if about:
            yield start, end, row
            row += about[0]
        if end <= start:
            raise ThriftError("a page header holds a size that cannot be")
        start = end
    if row != rows:
        raise ThriftError("the pages hold other rows than the row group")


def _checked(found: Ints, start: int, stop: int, rows: int) -> PageRows | None:
    if not len(found):
        return None
    starts, stops, first = found.T
    inside = (starts >= start) & (stops > starts) & (stops <= stop)
    ascending = bool((starts[1:] >= stops[:-1]).all() and (np.diff(first, append=rows) > 0).all())
    if not (inside.all() and ascending and first[0] == 0):
        return None
    return PageRows(start=start, starts=starts, stops=stops, rows=np.append(first, rows))
