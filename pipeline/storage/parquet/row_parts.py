"""Some rows of a large row group, of which only the pages that hold them are read.

Arrow reads a row group from its beginning: whoever wants the last thousand rows decodes all before
them. Writers make groups of a million rows, and units are of some hundred, so each unit would
decode half of its group. Where the pages of all columns can be located, those of each leaf are read
as a small file of its own (:mod:`pipeline.storage.parquet.part_footer`), judged like any other, and
the leaves are put together again. Memory is that of the rows that are read at once.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.parquet.footer import FooterError, Ints
from pipeline.storage.parquet.leaves import can_be_merged, merged
from pipeline.storage.parquet.limits import DecodeBudget
from pipeline.storage.parquet.page_rows import PageRows, locate_pages
from pipeline.storage.parquet.pages import walk_pages
from pipeline.storage.parquet.part_footer import PAGES_AT, part_footer
from pipeline.storage.parquet.reader import OpenParquet

#: Stored bytes of a row group's columns from which on it is read in parts.
LARGE_BYTES: Final = 16 * 2**20

#: What is read at once: decompressed bytes, as the footer says, and rows.
_PART_BYTES: Final = 32 * 2**20
_PART_ROWS: Final = 65_536

#: Rows that are read first; then twice as many each time. Some callers want no more than the next.
_FIRST_ROWS: Final = 512


def located(parquet: OpenParquet, group: int, columns: Sequence[str]) -> dict[int, PageRows] | None:
    """The pages of all leaves of some columns by their places; None: not all can be located."""
    places = parquet.footer.places(columns).tolist()
    if not all(can_be_merged(parquet.schema.field(name).type) for name in columns):
        return None
    found: dict[int, PageRows] = {}
    known = parquet.footer.pages
    for place in places:
        if (group, place) not in known:
            known[group, place] = locate_pages(parquet.source, parquet.footer, group, place)
        pages = known[group, place]
        if pages is None:
            return None
        found[place] = pages
    return found


def part_batches(
    parquet: OpenParquet, group: int, columns: Sequence[str], pages: dict[int, PageRows],
    batch_rows: int, budget: DecodeBudget, lower: int, upper: int,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """Rows ``[lower, upper)`` of a row group, as :meth:`OpenParquet.batches` gives them.

    Args:
        parquet: the file.
        group: the row group.
        columns: top-level columns.
        pages: of all leaves of these columns, by :func:`located`.
        batch_rows: rows per batch at most.
        budget: what the caller keeps.
        lower: first row, counted from the beginning of the row group.
        upper: row after the last.

    Raises:
        ExpansionError: they are far larger than what is stored.
        FooterError: pages hold other rows than is said of them.
    """
    footer = parquet.footer
    places = list(pages)
    row_bytes = int(footer.unpacked[group, places].sum()) / max(1, int(footer.rows[group]))
    most = max(1, min(_PART_ROWS, int(_PART_BYTES / max(row_bytes, 1))))
    start, step = lower, min(_FIRST_ROWS, most)
    while start < upper:
        stop = min(upper, start + step)
        try:
            arrays = [_column(parquet, group, name, pages, budget, start, stop) for name in columns]
        except FooterError:
            footer.pages.clear()  # of another file with an equal footer, if not of a damaged one
            raise
        made = pa.record_batch(arrays, names=list(columns))
        for first in range(0, made.num_rows, batch_rows):
            yield made.slice(first, batch_rows)
        start, step = stop, min(2 * step, most)


def _column(
    parquet: OpenParquet, group: int, name: str, pages: dict[int, PageRows],
    budget: DecodeBudget, start: int, stop: int,
) -> pa.Array:  # fmt: skip
    """Rows ``[start, stop)`` of a top-level column."""
    leaves = [
        _leaf(parquet, group, place, pages[place], name, budget, start, stop)
        for place in parquet.footer.places([name]).tolist()
    ]
    return merged(parquet.schema.field(name).type, leaves)


def _leaf(
    parquet: OpenParquet, group: int, place: int, pages: PageRows, column: str,
    budget: DecodeBudget, start: int, stop: int,
) -> pa.Array:  # fmt: skip
    """Rows ``[start, stop)`` of one leaf: an array of its column's type, without other leaves."""
    first = int(pages.rows.searchsorted(start, side="right")) - 1
    last = int(pages.rows.searchsorted(stop, side="left"))
    dictionary = _read(parquet, pages.start, int(pages.starts[0]))
    data = dictionary + _read(parquet, int(pages.starts[first]), int(pages.stops[last - 1]))
    before = int(pages.rows[first])
    rows = int(pages.rows[last]) - before
    leaf, codec = parquet.footer.leaves[place], int(parquet.footer.codecs[group, place])
    walked = walk_pages(data, 2**62, leaf, codec)
    values = walked.values
    there = walked.rows if leaf.max_repetition else values
    if there not in (None, rows):
        raise FooterError(f"{rows} rows were announced, and {there} are there")
    footer = part_footer(
        parquet.footer, place, dictionary=len(dictionary), size=len(data), values=values,
        rows=rows, codec=codec,
    )  # fmt: skip
    content = b"PAR1" + data
    length = len(footer.plain).to_bytes(4, "little")
    part = OpenParquet(
        path=parquet.path,
        first_group=group,
        source=io.BytesIO(content),
        size=PAGES_AT + len(data),
        footer=footer,
        metadata=pq.read_metadata(pa.BufferReader(b"PAR1" + footer.plain + length + b"PAR1")),
        schema=parquet.schema,
    )
    of_leaf: Ints = parquet.footer.places([column])
    found = part.batches(
        0, [column], _PART_ROWS, budget, start - before, stop - before,
        places=of_leaf[of_leaf == place],
    )  # fmt: skip
    return pa.chunked_array([batch.column(0) for batch in found]).combine_chunks()


def _read(parquet: OpenParquet, start: int, stop: int) -> bytes:
    parquet.source.seek(start)
    data = parquet.source.read(stop - start)
    if len(data) != stop - start:
        raise FooterError("the file ends before its columns do")
    return data
