"""Parquet in and out: footers, row ranges, and whole files as bytes.

Every Parquet file that the product reads is read here, and opened by
:mod:`pipeline.storage.parquet.reader`, which keeps data from running code and from unfolding.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.storage.counters import Event, count
from pipeline.storage.parquet.columns import uuid_columns
from pipeline.storage.parquet.faults import UnreadableError, explained
from pipeline.storage.parquet.footer import ParquetFooter
from pipeline.storage.parquet.leaves import can_be_merged
from pipeline.storage.parquet.limits import MAX_EXPANSION, DecodeBudget, refuse_expansion
from pipeline.storage.parquet.page_rows import can_be_located
from pipeline.storage.parquet.ranges import ValueRange, value_ranges
from pipeline.storage.parquet.reader import OpenParquet, opened
from pipeline.storage.parquet.row_parts import LARGE_BYTES, located, part_batches
from pipeline.storage.parquet.sizes import width_of
from pipeline.storage.store import FileIdentity, open_input, read_bytes

#: Decompressed bytes of a row group that are decoded in some tenths of a second: reading it once
#: more for every unit costs little beside scoring the unit.
_CHEAP_BYTES: Final = 128 * 2**20

#: Parts of a larger row group whose pages cannot be located.
_FEW_PARTS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Footer:
    """What a Parquet footer says about a file.

    Attributes:
        file: the file and its version.
        schema: Arrow schema of what is stored; extension types are in the fields' metadata.
        row_groups: rows of each row group, in order.
        values: leaf values of each row group: its rows, or the items of its longest list column.
        uuids: top-level name and own name of each column of UUIDs.
        parsed: the footer itself.
    """

    file: FileIdentity
    schema: pa.Schema
    row_groups: tuple[int, ...]
    values: tuple[int, ...]
    uuids: frozenset[tuple[str, str]] = frozenset()
    parsed: ParquetFooter = field(repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.row_groups)

    def refuse_expansion(self, columns: Sequence[str], limit: float) -> None:
        """Refuse a file that claims far more values than its bytes could hold.

        Args:
            columns: those that will be read.
            limit: decoded bytes per stored byte.

        Raises:
            ExpansionError: a row group takes too much memory even where every value is empty.
        """
        parsed = self.parsed
        places = parsed.places(columns)
        widths = np.array([width_of(parsed.leaves[place]) for place in places], dtype=np.float64)
        decoded = parsed.values[:, places].astype(np.float64) @ widths
        stored = parsed.stored[:, places].sum(axis=1)
        for group in range(len(self.row_groups)):
            where = f"{self.file.path}, row group {group}"
            refuse_expansion(int(decoded[group]), int(stored[group]), where, limit=limit)

    def most_parts(self, columns: Sequence[str]) -> tuple[int | None, ...]:
        """Into how many parts each row group may be cut when it is read; None: any number.

        Where pages cannot be located, each part is decoded from the beginning of its row group, so
        that N parts cost (N + 1) / 2 times the decoding of all; parts are then few and large.

        Args:
            columns: those that will be read.
        """
        parsed = self.parsed
        places = parsed.places(columns).tolist()
        unpacked = parsed.unpacked[:, places].sum(axis=1).tolist()
        stored = parsed.stored[:, places].sum(axis=1).tolist()
        return tuple(
            None
            if size <= _CHEAP_BYTES
            or (bytes_ > LARGE_BYTES and self._locatable(group, columns, places))
            else max(_FEW_PARTS, -(-size // _CHEAP_BYTES))
            for group, (size, bytes_) in enumerate(zip(unpacked, stored, strict=True))
        )

    def _locatable(self, group: int, columns: Sequence[str], places: Sequence[int]) -> bool:
        kinds = [self.schema.field(name).type for name in columns]
        return all(map(can_be_merged, kinds)) and all(
            can_be_located(self.parsed, group, place) for place in places
        )

    def ranges(self, column: str) -> tuple[ValueRange, ...]:
        """The smallest and largest id of a top-level column in each row group."""
        names = self.schema.names
        if names.count(column) != 1:
            return ()
        uuid = (column, column) in self.uuids
        return value_ranges(self.parsed, self.schema.field(column), uuid=uuid)


def read_footer(file: FileIdentity) -> Footer:
    """Read one footer.

    Raises:
        InputContractError: the file is empty, cut off, encrypted, or not Parquet.
    """
    with (
        explained(file.path, file.size),
        open_input(file.path, expected=file) as source,
        opened(file.path, source) as parquet,
    ):
        parsed = parquet.footer
        values = parsed.values.max(axis=1, initial=0)
        return Footer(
            file=file,
            schema=parquet.schema,
            row_groups=tuple(parsed.rows.tolist()),
            values=tuple(values.tolist()),
            uuids=uuid_columns(parsed.leaves, parquet.schema),
            parsed=parsed,
        )


def read_rows(
    path: str,
    start: int,
    stop: int,
    *,
    columns: Sequence[str],
    batch_rows: int = 8192,
    expected: FileIdentity | None = None,
    budget: DecodeBudget | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows ``[start, stop)`` of a file as record batches; row groups outside are never touched.

    Data that cannot be decoded, or whose page checksum does not fit, is read once more before it
    is given up: a bit may have flipped on its way.

    Args:
        path: the file.
        start: first row, counted from the beginning of the file.
        stop: row after the last.
        columns: columns to read.
        batch_rows: rows per batch at most; fewer where rows are large.
        expected: what the file was when the rows were counted.
        budget: what the caller keeps of all that it reads; None: one batch at a time.

    Raises:
        NotFoundError: no such file.
        InputContractError: the file is another version, a column is of an extension type, the
            data cannot be decoded, or would become too large; names the file and the row group.
    """
    budget = DecodeBudget(keeps=False) if budget is None else budget
    done = start
    for last in (False, True):
        try:
            for batch in _rows_once(path, done, stop, list(columns), batch_rows, expected, budget):
                yield batch
                done += batch.num_rows
            return
        except UnreadableError:
            if last:
                raise
            count(Event.DAMAGED)


def _rows_once(
    path: str, start: int, stop: int, columns: list[str], batch_rows: int,
    expected: FileIdentity | None, budget: DecodeBudget,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    with (
        explained(path),
        open_input(path, expected=expected) as source,
        opened(path, source) as parquet,
    ):
        parquet.refuse_columns(columns)
        ends = np.cumsum(parquet.footer.rows)
        first = int(np.searchsorted(ends, start, side="right"))
        for group in range(first, len(ends)):
            rows = int(parquet.footer.rows[group])
            before = int(ends[group]) - rows
            if before >= stop:
                return
            if rows:
                lower, upper = max(0, start - before), min(rows, stop - before)
                with explained(f"{path}, row group {group}"):
                    yield from _group_rows(
                        parquet, group, columns, batch_rows, budget, lower, upper
                    )


def _group_rows(
    parquet: OpenParquet, group: int, columns: list[str], batch_rows: int, budget: DecodeBudget,
    lower: int, upper: int,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """Rows of one row group; of a large one only their pages are read, where these are known."""
    footer = parquet.footer
    large = int(footer.stored[group, footer.places(columns)].sum()) > LARGE_BYTES
    pages = located(parquet, group, columns) if large else None
    if pages is None:
        return parquet.batches(group, columns, batch_rows, budget, lower, upper)
    return part_batches(parquet, group, columns, pages, batch_rows, budget, lower, upper)


def to_bytes(
    table: pa.Table,
    *,
    metadata: Mapping[str, str] | None = None,
    footer: Mapping[str, str] | None = None,
) -> bytes:
    """A table as one Parquet file in memory: zstd, page checksums.

    Args:
        table: the rows.
        metadata: joins the schema's metadata, which the footer holds twice (Arrow keeps a copy).
        footer: further entries of the footer, held once and no part of the schema.
    """
    merged = {**(table.schema.metadata or {}), **{k: v for k, v in (metadata or {}).items()}}
    described = table.replace_schema_metadata(merged or None)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, described.schema, compression="zstd", write_page_checksum=True
    ) as writer:
        writer.write_table(described)
        if footer:
            writer.add_key_value_metadata(dict(footer))
    return bytes(sink.getvalue())


def read_table(path: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole (small) Parquet file.

    Raises:
        NotFoundError: no such file.
        InputContractError: not readable as Parquet, or a column is of an extension type.
    """
    return table_of(read_bytes(path), path, columns=columns)


def table_of(
    data: bytes,
    path: str,
    *,
    columns: Sequence[str] | None = None,
    max_expansion: float = MAX_EXPANSION,
) -> pa.Table:
    """As :func:`read_table`, of a file's content.

    Args:
        data: the file.
        path: where it is from, for errors.
        columns: columns to read; None: all.
        max_expansion: decoded bytes per stored byte past which much data is refused.
    """
    with explained(path, len(data)), opened(path, io.BytesIO(data)) as parquet:
        return parquet.table(data, columns, max_expansion)


def columns_of(data: bytes, path: str) -> list[str]:
    """Names of the columns of a file that is in memory."""
    with explained(path, len(data)), opened(path, io.BytesIO(data)) as parquet:
        names: list[str] = parquet.schema.names
    return names


def read_metadata(path: str) -> dict[str, str]:
    """Key-value metadata of a Parquet footer, without Arrow's own entries."""
    with explained(path), open_input(path) as source, opened(path, source) as parquet:
        raw = parquet.schema.metadata or {}
    return {key.decode(): value.decode() for key, value in raw.items()}
