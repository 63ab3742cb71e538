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
from pipeline.storage.parquet.pages import MOST_PAGES, data_page
from pipeline.storage.parquet.thrift import (
    Fields,
    ThriftError,
    integer,
    read_field,
    read_list_head,
    read_struct,
    read_value,
)

#: Bytes that are read at once in search of page headers.
_WINDOW: Final = 2**20

#: An offset index takes some 15 bytes a page.
_MOST_INDEX_BYTES: Final = 32 * MOST_PAGES

#: Ids of parquet.thrift: ColumnChunk, PageLocation.
_INDEX_START, _INDEX_SIZE = 4, 5
_PAGE_START, _PAGE_SIZE, _FIRST_ROW = 1, 2, 3


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
    return not footer.leaves[place].max_repetition or _has_index(chunk_of(footer, group, place))


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
    chunk = chunk_of(footer, group, place)
    try:
        if _has_index(chunk):
            found = list(_indexed(source, chunk))
        elif not footer.leaves[place].max_repetition:
            found = list(_walked(source, start, stop, rows))
        else:
            return None
    except ThriftError:
        return None
    return _checked(np.array(found, dtype=np.int64).reshape(-1, 3), start, stop, rows)


def chunk_of(footer: ParquetFooter, group: int, place: int) -> Fields:
    """ColumnChunk of parquet.thrift by field id, from the bytes of the footer."""
    found = footer.chunks.get(group)
    if found is None:
        last = at = 0
        while last != 4:
            last, kind, at = read_field(footer.plain, at, last)
            if last != 4 and kind not in (1, 2):
                _, at = read_value(footer.plain, at, kind)
        _, _, at = read_list_head(footer.plain, at)
        for number in range(len(footer.rows)):
            about, at = read_struct(footer.plain, at)
            footer.chunks[number] = about.get(1, [])
        found = footer.chunks[group]
    return found[place]


def _has_index(chunk: Fields) -> bool:
    return 0 < integer(chunk, _INDEX_SIZE, 0) <= _MOST_INDEX_BYTES


def _indexed(source: BinaryIO, chunk: Fields) -> Iterator[tuple[int, int, int]]:
    """Start, stop and first row of each page by the offset index."""
    source.seek(integer(chunk, _INDEX_START))
    index, _ = read_struct(source.read(integer(chunk, _INDEX_SIZE)), 0)
    for page in index.get(1, ()):
        start = integer(page, _PAGE_START)
        yield start, start + integer(page, _PAGE_SIZE), integer(page, _FIRST_ROW)


def _walked(source: BinaryIO, start: int, stop: int, rows: int) -> Iterator[tuple[int, int, int]]:
    """The same by the pages' headers, of a column whose values are rows."""
    window, begins, row = b"", start, 0
    while start < stop and row < rows:
        try:
            header, after = read_struct(window, start - begins)
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
