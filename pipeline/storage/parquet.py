"""Parquet in and out: footers, row ranges, and whole files as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputContractError
from pipeline.storage.counters import Event, count
from pipeline.storage.store import FileIdentity, open_input, read_bytes


class UnreadableError(InputContractError):
    """The bytes of a file are not the Parquet that they should be."""


@dataclass(frozen=True, kw_only=True)
class Footer:
    """What a Parquet footer says about a file.

    Attributes:
        file: the file and its version.
        schema: Arrow schema.
        row_groups: rows of each row group, in order.
        values: leaf values of each row group: its rows, or the items of its longest list column.
    """

    file: FileIdentity
    schema: pa.Schema
    row_groups: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.row_groups)


def read_footer(file: FileIdentity) -> Footer:
    """Read one footer.

    Raises:
        InputContractError: the file is empty, cut off, or not Parquet.
    """
    with (
        _explained(file.path, file.size),
        open_input(file.path, expected=file) as source,
    ):
        parquet = pq.ParquetFile(source)
        metadata = parquet.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        return Footer(
            file=file,
            schema=parquet.schema_arrow,
            row_groups=tuple(group.num_rows for group in groups),
            values=tuple(
                max((group.column(i).num_values for i in range(group.num_columns)), default=0)
                for group in groups
            ),
        )


def read_rows(
    path: str,
    start: int,
    stop: int,
    *,
    columns: Sequence[str],
    batch_rows: int = 8192,
    expected: FileIdentity | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows ``[start, stop)`` of a file as record batches; row groups outside are never touched.

    Data that cannot be decoded, or whose page checksum does not fit, is read once more before it
    is given up: a bit may have flipped on its way.

    Args:
        path: the file.
        start: first row, counted from the beginning of the file.
        stop: row after the last.
        columns: columns to read.
        batch_rows: rows per batch at most.
        expected: what the file was when the rows were counted.

    Raises:
        NotFoundError: no such file.
        InputContractError: the file is another version, or the data cannot be decoded; names the
            file and the row group.
    """
    done = start
    for last in (False, True):
        try:
            for batch in _rows_once(path, done, stop, list(columns), batch_rows, expected):
                yield batch
                done += batch.num_rows
            return
        except UnreadableError:
            if last:
                raise
            count(Event.DAMAGED)


def _rows_once(
    path: str,
    start: int,
    stop: int,
    columns: list[str],
    batch_rows: int,
    expected: FileIdentity | None,
) -> Iterator[pa.RecordBatch]:
    with _explained(path), open_input(path, expected=expected) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        first = 0
        for group in range(parquet.metadata.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if first < stop and first + rows > start and rows:
                with _explained(f"{path}, row group {group}"):
                    batches = parquet.iter_batches(batch_rows, row_groups=[group], columns=columns)
                    yield from _cut(batches, max(0, start - first), min(rows, stop - first))
            first += rows


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
        InputContractError: not readable as Parquet.
    """
    data = read_bytes(path)
    with _explained(path, len(data)):
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(
            columns=list(columns) if columns is not None else None
        )


def read_metadata(path: str) -> dict[str, str]:
    """Key-value metadata of a Parquet footer, without Arrow's own entries."""
    with _explained(path), open_input(path) as source:
        raw = pq.ParquetFile(source).schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in raw.items()}


def _cut(batches: Iterator[pa.RecordBatch], start: int, stop: int) -> Iterator[pa.RecordBatch]:
    position = 0
    for batch in batches:
        lower, upper = max(start - position, 0), min(stop - position, batch.num_rows)
        if lower < upper:
            yield batch.slice(lower, upper - lower)
        position += batch.num_rows
        if position >= stop:
            return


@contextmanager
def _explained(path: str, size: int | None = None) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
            raise  # the store failed, not the file: Arrow's own decoding errors carry no errno
        if size == 0:
            raise UnreadableError(
                f"{path}: the file is empty (0 bytes); delete it or write it again"
            ) from error
        reason = str(error).split("\n")[0].rstrip(".")
        raise UnreadableError(
            f"{path}: not readable as Parquet ({reason}); the file is cut off, damaged or of "
            "another format: write it again"
        ) from error
