"""Parquet files opened so that data stays data: no code of a column runs, no bomb unfolds.

The footer is read here first (:mod:`pipeline.storage.parquet.footer`). Arrow gets one in which no
extension type can be resolved, whatever the process has registered, and is never asked about a
column chunk; what it decodes was measured before (:mod:`pipeline.storage.parquet.pages`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import InputContractError
from pipeline.storage.parquet.chunks import StoredChunks
from pipeline.storage.parquet.footer import (
    DECLARED_KEY,
    FIXED,
    MOST_FOOTER_BYTES,
    EncryptedError,
    FooterError,
    Ints,
    Leaf,
    ParquetFooter,
    parse_footer,
)
from pipeline.storage.parquet.formats import other_format
from pipeline.storage.parquet.limits import FREE_BYTES, DecodeBudget, refuse_expansion
from pipeline.storage.parquet.pages import ChunkPages, walk_pages
from pipeline.storage.parquet.thrift import ThriftError

#: Extension types whose stored values are plain text or bytes with a plain meaning.
_PLAIN_EXTENSIONS: Final = frozenset({"arrow.uuid", "arrow.json"})

#: A batch of rows is made no larger than this, as far as rows are of one size.
_BATCH_BYTES: Final = 32 * 2**20

#: What is read first from the end of a file; most footers fit in.
_TAIL_BYTES: Final = 2**16

#: Writers before parquet-mr 1.2.9 left a page header out of a chunk's size; Arrow allows as much.
_UNCOUNTED: Final = 100

#: Bytes of a value by physical type: boolean, int32, int64, int96, float, double, offsets.
_WIDTHS: Final = (1, 4, 8, 8, 4, 8, 4)


class UnreadableError(InputContractError):
    """The bytes of a file are not the Parquet that they should be."""


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
    """

    path: str
    source: BinaryIO
    size: int
    footer: ParquetFooter
    metadata: pq.FileMetaData
    schema: pa.Schema

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
        lower: int, upper: int,
    ) -> Iterator[pa.RecordBatch]:  # fmt: skip
        """Rows ``[lower, upper)`` of a row group.

        Raises:
            ExpansionError: they are far larger than what is stored.
        """
        places = self.footer.places(columns)
        ranges = [self._range(group, place) for place in places.tolist()]
        chunks = StoredChunks(self.source, ranges, self.size)
        row_bytes = self._judge(chunks, group, places, budget, lower, upper)
        fitting = max(1, min(batch_rows, int(_BATCH_BYTES / max(row_bytes, 1))))
        paths = [self.footer.leaves[place].dotted for place in places]
        found = self._arrow(chunks).iter_batches(fitting, row_groups=[group], columns=paths)
        count = 0
        for batch in _cut(found, lower, upper):
            budget.add(int(batch.nbytes), f"{self.path}, row group {group}")
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
        for group, rows in enumerate(self.footer.rows.tolist()):
            self._judge(chunks, group, places, budget, 0, rows)
        table = self._arrow(pa.BufferReader(data)).read(columns=None if columns is None else names)
        announced = int(self.footer.rows.sum())
        if table.num_rows != announced:
            raise FooterError(f"{announced} rows were announced, and {table.num_rows} are there")
        return table

    def _judge(
        self, chunks: StoredChunks, group: int, places: Ints, budget: DecodeBudget,
        lower: int, upper: int,
    ) -> float:  # fmt: skip
        """Refuse a row group that unfolds too far; returns bytes of one of its rows, roughly."""
        where = f"{self.path}, row group {group}"
        leaves = [self.footer.leaves[place] for place in places]
        pages = [self._pages(chunks, group, place) for place in places.tolist()]
        budget.stored += int(self.footer.stored[group, places].sum())
        _refuse_pages(leaves, pages, budget, where)
        unfolded = self._unfolded(chunks, group, leaves, pages, lower, upper, budget, where)
        rows = max(1, int(self.footer.rows[group]))
        return unfolded + sum(page.unpacked + page.repeated for page in pages) / rows

    def _arrow(self, source: Any, read_dictionary: Sequence[str] | None = None) -> pq.ParquetFile:
        return pq.ParquetFile(
            source, metadata=self.metadata, page_checksum_verification=True, pre_buffer=False,
            arrow_extensions_enabled=False, read_dictionary=read_dictionary,
        )  # fmt: skip

    def _range(self, group: int, place: int) -> tuple[int, int]:
        """Where a column chunk lies, with the bytes that old writers did not count."""
        start = int(self.footer.starts[group, place])
        return start, min(start + int(self.footer.stored[group, place]) + _UNCOUNTED, self.size)

    def _pages(self, chunks: StoredChunks, group: int, place: int) -> ChunkPages:
        footer = self.footer
        return walk_pages(
            chunks.piece(*self._range(group, place)), int(footer.values[group, place]),
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


def _refuse_pages(
    leaves: Sequence[Leaf], pages: Sequence[ChunkPages], budget: DecodeBudget, where: str
) -> None:
    """What a row group needs at least: its pages while they are decoded, and its plain values."""
    budget.refuse(sum(page.largest + page.dictionary for page in pages), where)
    plain = sum(page.unpacked + page.repeated for page in pages)
    fixed = sum(page.values * width_of(leaf) for leaf, page in zip(leaves, pages, strict=True))
    # A reader may keep a small part of a row group, so this is held against the file alone.
    refuse_expansion(max(plain, fixed), budget.stored, where, limit=budget.max_expansion)


@contextmanager
def opened(path: str, source: BinaryIO) -> Iterator[OpenParquet]:
    """Read the footer of an open file.

    Raises:
        InputContractError: it is no Parquet file, is damaged, or is encrypted.
    """
    with explained(path):
        data, size = _footer_bytes(path, source)
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


def refuse_extensions(field: pa.Field, path: str) -> None:
    """Refuse a column that is, or has inside it, an extension type that is more than a name.

    Raises:
        InputContractError: names file, column and type.
    """
    found = _declared(field, field.name)
    if found is None:
        return
    place, name = found
    raise InputContractError(
        f"{path}: column '{place}' is of the extension type '{name}', whose values a library "
        "interprets, perhaps by running code that they hold; only plain columns are read. Write "
        "what it stands for as a plain column (pyarrow: column.cast(...) or "
        "column.combine_chunks().storage), or do not name the column"
    )


def twice_error(path: str, name: str) -> InputContractError:
    """The refusal of a column whose name stands twice."""
    return InputContractError(
        f"{path}: column '{name}' stands twice, so it is not known which one is meant; write the "
        "file with one of them, or rename one"
    )


def uuid_columns(opened_file: OpenParquet) -> frozenset[tuple[str, str]]:
    """Top-level name and own name of every column of UUIDs in 16 bytes."""
    found = {
        (leaf.path[0], leaf.path[-1])
        for leaf in opened_file.footer.leaves
        if leaf.physical == FIXED and leaf.length == 16 and leaf.logical == "uuid"
    }
    for top in opened_file.schema:
        found |= {
            (top.name, field.name) for field in _fields(top) if _name_of(field) == "arrow.uuid"
        }
    return frozenset(found)


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


@contextmanager
def explained(path: str, size: int | None = None) -> Iterator[None]:
    """Turn what Arrow and our own readers raise over a file's bytes into one sentence."""
    try:
        yield
    except EncryptedError as error:
        raise _encrypted(path) from error
    except (pa.ArrowException, OSError, ThriftError, FooterError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
            raise  # the store failed, not the file: Arrow's own decoding errors carry no errno
        if size == 0:
            raise _empty(path) from error
        reason = str(error).split("\n")[0].rstrip(".")
        raise UnreadableError(
            f"{path}: not readable as Parquet ({reason}); the file is cut off, damaged or of "
            "another format: write it again"
        ) from error


def _footer_bytes(path: str, source: BinaryIO) -> tuple[bytes, int]:
    """The footer without its frame, and the size of the file."""
    size = source.seek(0, 2)
    if size == 0:
        raise _empty(path)
    source.seek(max(0, size - _TAIL_BYTES))
    tail = source.read(min(size, _TAIL_BYTES))
    length = int.from_bytes(tail[-8:-4], "little") if len(tail) >= 12 else 0
    if tail[-4:] == b"PARE":
        raise _encrypted(path)
    if tail[-4:] != b"PAR1" or length > size - 12 or length == 0:
        source.seek(0)
        raise _not_parquet(path, source.read(512), size)
    if length > MOST_FOOTER_BYTES:
        raise InputContractError(
            f"{path}: its footer takes {length / 2**20:,.0f} MiB, more than "
            f"{MOST_FOOTER_BYTES >> 20}; write it with larger row groups, or as several files"
        )
    if length + 8 > len(tail):
        source.seek(size - length - 8)
        tail = source.read(length + 8)
    return tail[len(tail) - length - 8 : -8], size


def _not_parquet(path: str, head: bytes, size: int) -> UnreadableError:
    if head.startswith(b"PAR1"):
        return UnreadableError(
            f"{path}: not readable as Parquet (it begins as Parquet, but its footer is missing); "
            "the file is cut off, damaged, or was still being written: write it again"
        )
    known = other_format(head)
    if known is not None:
        return UnreadableError(f"{path}: not Parquet: {known}")
    return UnreadableError(
        f"{path}: not readable as Parquet (no magic number in {size:,} bytes); the file is cut "
        "off, damaged or of another format: write it again"
    )


def _empty(path: str) -> UnreadableError:
    return UnreadableError(f"{path}: the file is empty (0 bytes); delete it or write it again")


def _encrypted(path: str) -> InputContractError:
    return InputContractError(
        f"{path}: the file is encrypted, and encrypted Parquet is not read; write it without "
        "encryption, on storage that encrypts by itself where it must be"
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


def _name_of(field: pa.Field) -> str:
    if isinstance(field.type, pa.BaseExtensionType):
        return str(getattr(field.type, "extension_name", field.type))
    name: bytes = (field.metadata or {}).get(DECLARED_KEY, b"")
    return name.decode("utf-8", errors="replace")


def _declared(field: pa.Field, place: str) -> tuple[str, str] | None:
    """The first extension type at or below a field that is more than a name for plain values."""
    name = _name_of(field)
    if name and name not in _PLAIN_EXTENSIONS:
        return place, name
    for inner in _children(field.type):
        found = _declared(inner, f"{place}.{inner.name}")
        if found is not None:
            return found
    return None


def _fields(field: pa.Field) -> Iterator[pa.Field]:
    yield field
    for inner in _children(field.type):
        yield from _fields(inner)


def _children(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(place) for place in range(kind.num_fields)]


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
