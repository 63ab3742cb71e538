"""The files of one part of changes, written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.refresh.changes.folder import (
    LISTS,
    MANIFEST,
    ROWS,
    read_record,
    write_file,
    write_record,
)
from pipeline.storage.parquet import to_bytes
from pipeline.storage.store import join

Record = dict[str, Any]


def write_part(
    path: str, number: int, rows: pa.Table, lists: pa.Table, statistics: Mapping[str, Any]
) -> Record:
    """Write the two files of a part, and then what is known of them.

    Args:
        path: the folder of the changes.
        number: of the part, from 0.
        rows: of :attr:`pipeline.refresh.changes.layout.Layout.rows`.
        lists: of :attr:`pipeline.refresh.changes.layout.Layout.lists`.
        statistics: that stand in its record; JSON.

    Returns:
        The record: ``number``, ``files`` and ``statistics``.
    """
    files = {}
    for kind, table in ((ROWS, rows), (LISTS, lists)):
        key, data = f"{kind}-{number:05d}.parquet", to_bytes(table)
        write_file(join(path, key), data)
        digest = hashlib.sha256(data).hexdigest()
        files[kind] = {
            "key": key, "bytes": len(data), "sha256": digest, "rows": table.num_rows,
        }  # fmt: skip
    record = {"number": number, "files": files, "statistics": dict(statistics)}
    write_record(record_path(path, number), record)
    return record


def record_path(path: str, number: int) -> str:
    """Where it stands what is known of a part."""
    return join(path, f"part-{number:05d}.json")


def read_part(path: str, number: int) -> Record | None:
    """What is known of a part; None where it is not there yet."""
    return read_record(record_path(path, number))


def write_manifest(
    path: str, about: Mapping[str, Any], parts: Sequence[Record], statistics: Mapping[str, Any]
) -> None:
    """Finish changes whose parts are all there.

    Args:
        path: their folder.
        about: ``from``, ``to`` and ``columns``.
        parts: their records in order.
        statistics: of all of them.
    """
    listed = [{"number": part["number"], "files": part["files"]} for part in parts]
    write_record(join(path, MANIFEST), {**about, "parts": listed, "statistics": dict(statistics)})
