"""Comma-separated text as RFC 4180 has it: quoted fields may hold commas, quotes and line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.sources.raw_rows import RawRows
from pipeline.sources.streams import MOST_LINE_BYTES, Block

_ROWS: Final = 8192
_BATCH_CHARACTERS: Final = 8 << 20


class _LongRecordError(Exception):
    """A record goes on and on: a quote that is never closed, mostly."""


class _Lines:
    """The lines of a file as text, for the parser of the standard library.

    Bytes that are not UTF-8 become surrogates, which :func:`_encoded` turns back. A line that is
    too long is given as a blank one.
    """

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._lines = _decoded(blocks)
        self.record = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.record += len(line)
        if self.record > MOST_LINE_BYTES:
            raise _LongRecordError
        return line


def csv_rows(
    blocks: Iterable[Block], names: tuple[str, ...], *, expected: str
) -> Iterator[RawRows]:
    """The records of a file after its header, all fields as bytes; blank lines are none.

    Args:
        blocks: its lines.
        names: of its columns.
        expected: what a record should be, for what is said of one that is not.
    """
    number = 0
    rows: list[list[str]] = []
    places: list[int] = []
    faults: dict[int, str] = {}
    size = 0
    for record in _records(blocks):
        if number and record:
            if isinstance(record, str):
                faults[len(rows)] = record
            elif len(record) != len(names):
                faults[len(rows)] = f"{len(record)} field(s), expected {expected}"
            fits = not isinstance(record, str) and len(record) == len(names)
            rows.append(list(record) if fits else [])
            places.append(number)
            size += sum(map(len, rows[-1]))
        number += bool(record)
        if len(rows) == _ROWS or size > _BATCH_CHARACTERS:
            yield _raw(rows, places, faults, names)
            rows, places, faults, size = [], [], {}, 0
    if rows:
        yield _raw(rows, places, faults, names)


def header_of(data: bytes) -> tuple[str, ...]:
    """The fields of the first record of a file; nothing where it is not whole."""
    record = next(iter(_records([Block(offset=0, data=data)])), ())
    return () if isinstance(record, str) else tuple(field.strip() for field in record)


def _records(blocks: Iterable[Block]) -> Iterator[list[str] | str]:
    """Records; the text says why one is none."""
    lines = _Lines(blocks)
    reader = csv.reader(lines, strict=True)
    while True:
        lines.record = 0
        try:
            with _long_fields():
                record = next(reader)
        except StopIteration:
            return
        except _LongRecordError:
            reader = csv.reader(lines, strict=True)
            yield f"a record of more than {MOST_LINE_BYTES >> 20} MiB; is a quote not closed?"
        except csv.Error as error:
            reader = csv.reader(lines, strict=True)
            yield str(error)
        else:
            yield record


@contextmanager
def _long_fields() -> Iterator[None]:
    """Fields of any length that a record may have; the limit belongs to the whole process."""
    before = csv.field_size_limit(MOST_LINE_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _decoded(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if block.data is None:
            yield "\n"
            continue
        start = 0
        while start < len(block.data):
            end = block.data.find(b"\n", start) + 1 or len(block.data)
            yield block.data[start:end].decode("utf-8", errors="surrogateescape")
            start = end


def _raw(
    rows: list[list[str]], places: list[int], faults: dict[int, str], names: tuple[str, ...]
) -> RawRows:
    nothing: list[None] = [None] * len(names)
    columns = zip(*(row or nothing for row in rows), strict=True)
    return RawRows(
        columns={
            name: pa.array([_encoded(value) for value in values], pa.binary())
            for name, values in zip(names, columns, strict=True)
        },
        rows=np.array(places, dtype=np.int64),
        items=np.zeros(len(places), dtype=np.int64),
        faults=faults,
    )


def _encoded(value: str | None) -> bytes | None:
    return None if value is None else value.encode("utf-8", errors="surrogateescape")
