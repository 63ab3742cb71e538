"""Parquet files opened so that data stays data: no code of a column runs, no bomb unfolds.

The footer is read here first (:mod:`pipeline.storage.parquet.footer`). Arrow gets one in which no
extension type can be resolved, whatever the process has registered, and is never asked about a
column chunk; what it decodes was measured before (:mod:`pipeline.storage.parquet.pages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputContractError
from pipeline.storage.parquet.chunks import WINDOW, StoredChunks
from pipeline.storage.parquet.columns import refuse_extensions, twice_error
from pipeline.storage.parquet.faults import explained
from pipeline.storage.parquet.footer import (
    FooterError,
    Ints,
    Leaf,
    ParquetFooter,
    parse_footer,
)
from pipeline.storage.parquet.limits import FREE_BYTES, DecodeBudget
from pipeline.storage.parquet.pages import ChunkPages, walk_pages
from pipeline.storage.parquet.sizes import refuse_pages, unfolded_bytes
from pipeline.storage.parquet.tail import footer_bytes

#: A batch of rows is made no larger than this, as far as rows are of one size.
_BATCH_BYTES: Final = 32 * 2**20

#: Rows of a batch in which a column is decoded again to see whether it is the damaged one.
_AGAIN_ROWS: Final = 256

#: Writers before parquet-mr 1.2.9 left a page header out of a chunk's size; Arrow allows as much.
_UNCOUNTED: Final = 100


@dataclass(frozen=True, kw_only=True)
class OpenParquet:
    """An open file whose footer was read and judged.

    Attributes:
        path: the file.
        source: its bytes.
        size: how many.
        footer: what it holds.
        metadata: the same for Arrow.
        schema: what is stored; a field's metadata says which extension type it was declared as.
        first_group: what messages call its first row group, which may be a part of a larger file.
    """

    path: str
    source: BinaryIO
    size: int
    footer: ParquetFooter
    metadata: pq.FileMetaData
    schema: pa.Schema
    first_group: int = 0

    def refuse_columns(self, columns: Sequence[str]) -> None:
        """Refuse to read columns that are not there, stand twice, or are of an extension type.

        Raises:
            InputContractError: names file and column.
        """
        for name in columns:
            count = self.schema.names.count(name)
            if count == 0:
                raise InputContractError(
                    f"{self.path}: no column '{name}'; columns found: "
                    f"{', '.join(self.schema.names) or 'none'}"
                )
            if count > 1:
                raise twice_error(self.path, name)
            refuse_extensions(self.schema.field(name), self.path)

    def batches(
        self, group: int, columns: Sequence[str], batch_rows: int, budget: DecodeBudget,
        lower: int, upper: int, *, places: Ints | None = None,
    ) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """Rows ``[lower, upper)`` of a row group, of some columns or of some of their leaves.

        Raises:
            ExpansionError: they are far larger than what is stored.
        """
        places = self.footer.places(columns) if places is None else places
        ranges = [self._range(group, place) for place in places.tolist()]
        chunks = StoredChunks(self.source, ranges, self.size)
        row_bytes = self._judge(chunks, group, places, budget, lower, upper)
        fitting = max(1, min(batch_rows, int(_BATCH_BYTES / max(row_bytes, 1))))
        paths = [self.footer.leaves[place].dotted for place in places]
        count = 0
        with self._blaming(chunks, [group], paths):
            found = self._arrow(chunks).iter_batches(fitting, row_groups=[group], columns=paths)
            for batch in _cut(found, lower, upper):
                budget.add(int(batch.nbytes), f"{self.path}, row group {self.first_group + group}")
                yield batch.select(list(columns))
                count += batch.num_rows
        if count != upper - lower:
            raise FooterError(f"{upper - lower} rows were announced, and {count} are there")

    def table(self, data: bytes, columns: Sequence[str] | None, max_expansion: float) -> pa.Table:
        """Every row of a file that is in memory, and of some columns or all.

        Raises:
            ExpansionError: they are far larger than what is stored.
        """
        names = self.schema.names if columns is None else list(columns)
        self.refuse_columns(names)
        places = self.footer.places(names)
        chunks, budget = StoredChunks.of(data), DecodeBudget(max_expansion=max_expansion)
        groups = range(len(self.footer.rows))
        for group in groups:
            self._judge(chunks, group, places, budget, 0, int(self.footer.rows[group]))
        with self._blaming(chunks, groups, [self.footer.leaves[place].dotted for place in places]):
            wanted = None if columns is None else names
            table = self._arrow(pa.BufferReader(data)).read(columns=wanted)
        announced = int(self.footer.rows.sum())
        if table.num_rows != announced:
            raise FooterError(f"{announced} rows were announced, and {table.num_rows} are there")
        return table

    def _judge(
        self, chunks: StoredChunks, group: int, places: Ints, budget: DecodeBudget,
        lower: int, upper: int,
    ) -> float:  # fmt: skip
        """Refuse a row group that unfolds too far; returns bytes of one of its rows, roughly."""
        where = f"{self.path}, row group {self.first_group + group}"
        leaves = [self.footer.leaves[place] for place in places]
        pages = []
        for leaf, place in zip(leaves, places.tolist(), strict=True):
            with explained(f"{where}, column '{leaf.dotted}'"):
                pages.append(self._pages(chunks, group, place))
        budget.stored += int(self.footer.stored[group, places].sum())
        refuse_pages(leaves, pages, budget, where)
        with self._blaming(chunks, [group], [leaf.dotted for leaf in leaves]):
            unfolded = self._unfolded(chunks, group, leaves, pages, lower, upper, budget, where)
        rows = max(1, int(self.footer.rows[group]))
        return unfolded + sum(page.unpacked + page.repeated for page in pages) / rows

    @contextmanager
    def _blaming(
        self, chunks: StoredChunks, groups: Iterable[int], paths: Sequence[str]
    ) -> Iterator[None]:
        """Say which column of which row group it is that cannot be decoded.

        Raises:
            UnreadableError: names both; decoding each column again found them.
        """
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            for group, path in product(groups, paths):
                with explained(
                    f"{self.path}, row group {self.first_group + group}, column '{path}'"
                ):
                    for _ in self._arrow(chunks).iter_batches(
                        _AGAIN_ROWS, row_groups=[group], columns=[path]
                    ):
                        pass
            raise

    def _arrow(self, source: Any, read_dictionary: Sequence[str] | None = None) -> pq.ParquetFile:
        held = getattr(source, "held", True)
        return pq.ParquetFile(
            source, metadata=self.metadata, page_checksum_verification=True, pre_buffer=False,
            arrow_extensions_enabled=False, read_dictionary=read_dictionary,
            buffer_size=0 if held else WINDOW,  # 0: a chunk is read whole, which copies none
        )  # fmt: skip

    def _range(self, group: int, place: int) -> tuple[int, int]:
        """Where a column chunk lies, with the bytes that old writers did not count."""
        start = int(self.footer.starts[group, place])
        return start, min(start + int(self.footer.stored[group, place]) + _UNCOUNTED, self.size)

    def _pages(self, chunks: StoredChunks, group: int, place: int) -> ChunkPages:
        footer = self.footer
        return walk_pages(
            chunks.chunk(*self._range(group, place)), int(footer.values[group, place]),
            footer.leaves[place], int(footer.codecs[group, place]),
        )  # fmt: skip

    def _unfolded(
        self, chunks: StoredChunks, group: int, leaves: Sequence[Leaf],
        pages: Sequence[ChunkPages], lower: int, upper: int, budget: DecodeBudget, where: str,
    ) -> float:  # fmt: skip
        """Judge what dictionaries unfold to; returns bytes of a row in the largest batch."""
        doubtful = [
            leaf.dotted
            for leaf, page in zip(leaves, pages, strict=True)
            if page.coded * page.longest > FREE_BYTES // 8
        ]
        if not doubtful:
            return 0.0
        where = f"{where}, column {', '.join(map(repr, doubtful))}"
        kept = row = 0
        largest = 0.0
        encoded = self._arrow(chunks, doubtful)
        for batch in encoded.iter_batches(4096, row_groups=[group], columns=doubtful):
            if row >= upper:
                break
            size = sum(unfolded_bytes(column) for column in batch.columns)
            rows = max(batch.num_rows, 1)
            wanted = min(upper, row + rows) - max(lower, row)
            kept += size * max(0, wanted) // rows
            row += rows
            largest = max(largest, size / rows)
            budget.refuse(max(kept if budget.keeps else 0, size if wanted > 0 else 0), where)
        return largest


@contextmanager
def opened(path: str, source: BinaryIO) -> Iterator[OpenParquet]:
    """Read the footer of an open file.

    Raises:
        InputContractError: it is no Parquet file, is damaged, or is encrypted.
    """
    with explained(path):
        data, size = footer_bytes(path, source)
        footer = parse_footer(data, size)
        length = len(footer.plain).to_bytes(4, "little")
        metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + footer.plain + length + b"PAR1"))
        arrow = pq.ParquetFile(
            pa.BufferReader(b""), metadata=metadata, arrow_extensions_enabled=False
        )
        schema = arrow.schema_arrow
    yield OpenParquet(
        path=path, source=source, size=size, footer=footer, metadata=metadata, schema=schema
    )


def _cut(batches: Iterator[pa.RecordBatch], start: int, stop: int) -> Iterator[pa.RecordBatch]:
    position = 0
    for batch in batches:
        lower, upper = max(start - position, 0), min(stop - position, batch.num_rows)
        if lower < upper:
            yield batch.slice(lower, upper - lower)
        position += batch.num_rows
        if position >= stop:
            return
