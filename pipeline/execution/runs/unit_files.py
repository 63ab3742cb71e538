"""A unit's files: made as bytes, then created one by one, the one that closes the unit last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.execution.runs.format_files import FormatFile
from pipeline.execution.runs.run_files import MOST_BYTES
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.outputs.parquet import Parquet
from pipeline.outputs.ranked_unit import RankedUnit
from pipeline.outputs.sealed import is_whole, sealed_bytes
from pipeline.storage.store import (
    create_if_absent,
    read_versioned,
    replace_if_unchanged,
    write_whole,
)

#: What became of a file: written by us, there already with the same bytes, there already with
#: other bytes, or there but damaged and now whole again.
CREATED: Final = "created"
SAME: Final = "same"
DIFFERENT: Final = "different"
REPAIRED: Final = "repaired"

#: The step of a file that carries no seal.
FORMAT_WRITTEN: Final = "format.written"


def unit_files(
    folder: RunFolder,
    ranked: RankedUnit,
    tables: Sequence[pa.Table],
    others: Sequence[FormatFile],
    counts: UnitCounts,
    metadata: Mapping[str, str],
) -> Iterator[tuple[str, bytes, str]]:
    """Path, content and step (see :mod:`pipeline.failpoints`) of every file, in writing order.

    Args:
        folder: the run.
        ranked: the unit's output.
        tables: its ranked rows, cut; the last ones go into the file that closes the unit.
        others: its files in other formats, which ``counts`` lists.
        counts: of the unit.
        metadata: what every file says about itself.
    """
    parquet = Parquet()
    unit = counts.unit
    digests: dict[str, str] = {}

    def listed(path: str, data: bytes, step: str) -> tuple[str, bytes, str]:
        digests[folder.key(path)] = hashlib.sha256(data).hexdigest()
        return path, data, step

    if ranked.quarantine.num_rows:
        rejected = sealed_bytes(ranked.quarantine, metadata)
        yield listed(folder.quarantine(unit), rejected, "quarantine.written")
    for number, table in enumerate(tables[:-1], start=1):
        described = {**metadata, "part": f"{number} of {len(tables)}"}
        yield listed(folder.part(unit, number), parquet.write(table, described), "part.written")
    for other in others:
        yield folder.file(other.key), other.data, FORMAT_WRITTEN
    closing = {**metadata, "counts": replace(counts, digests=digests).to_metadata()}
    yield folder.ranked(unit), parquet.write(tables[-1], closing), "unit.written"


def put_file(
    path: str, data: bytes, *, cas: bool, superseded: str | None = None, sealed: bool = True
) -> str:
    """Create a file of a unit, once and for all.

    The first writer wins, and a later one compares. Only a file that is damaged, or is that of
    another unit or run, is replaced, and only that very version of it, so that a worker of a driver
    that was overtaken cannot undo a repair. A file without a seal does not say whether it is
    damaged, so it is replaced only as ``superseded``; should it be at odds with the file that
    closes its unit, that shows before publication.

    Args:
        path: where.
        data: its bytes.
        cas: whether the store can compare and swap.
        superseded: sha256 of a content that is to be replaced though it is whole, because the unit
            as a whole is scored again: files of two scorings must not stand side by side.
        sealed: whether the bytes carry a seal.

    Returns:
        ``CREATED``, ``SAME``, ``DIFFERENT`` or ``REPAIRED``.

    Raises:
        DamagedRunError: something is there that is no file.
    """
    while True:
        if create_if_absent(path, data):
            return CREATED
        found = read_versioned(path, most_bytes=MOST_BYTES)
        if found is None:
            continue
        stored, version = found
        if stored == data:
            return SAME
        known = superseded is not None and hashlib.sha256(stored).hexdigest() == superseded
        if not known and (not sealed or _same_file(stored, data)):
            return DIFFERENT
        if not cas:
            write_whole(path, data)
            return REPAIRED
        if replace_if_unchanged(path, data, version) is not None:
            return REPAIRED


def _same_file(stored: bytes, data: bytes) -> bool:
    """Whether what is stored is whole, and sealed as the same file of the same unit and run."""
    return is_whole(stored) and _identity(stored) == _identity(data)


def _identity(data: bytes) -> tuple[bytes | None, ...]:
    """Which file of which unit and run sealed bytes say that they are."""
    metadata = pq.ParquetFile(pa.BufferReader(data)).metadata.metadata or {}
    closing = b"yes" if b"counts" in metadata else None
    return (*(metadata.get(key) for key in (b"run_id", b"unit", b"part")), closing)
