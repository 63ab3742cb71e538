"""The files of one part of changes, written."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.errors import DamagedRunError
from pipeline.refresh.changes.folder import (
    LISTS,
    MANIFEST,
    ROWS,
    read_record,
    write_file,
    write_record,
)
from pipeline.storage.files import FILE
from pipeline.storage.parquet import to_bytes
from pipeline.storage.store import join, list_entries

logger = logging.getLogger("pipeline")

Record = dict[str, Any]


def write_part(
    path: str,
    number: int,
    rows: pa.Table,
    lists: pa.Table,
    statistics: Mapping[str, Any],
    sources: str = "",
) -> Record:
    """Write the two files of a part, and then what is known of them.

    Args:
        path: the folder of the changes.
        number: of the part, from 0.
        rows: of :attr:`pipeline.refresh.changes.layout.Layout.rows`.
        lists: of :attr:`pipeline.refresh.changes.layout.Layout.lists`.
        statistics: that stand in its record; JSON.
        sources: what it was made of, likewise.

    Returns:
        The record: ``number``, ``sources``, ``files`` and ``statistics``.
    """
    files = {}
    for kind, table in ((ROWS, rows), (LISTS, lists)):
        key, data = f"{kind}-{number:05d}.parquet", to_bytes(table)
        write_file(join(path, key), data)
        digest = hashlib.sha256(data).hexdigest()
        files[kind] = {
            "key": key, "bytes": len(data), "sha256": digest, "rows": table.num_rows,
        }  # fmt: skip
    record = {
        "number": number, "sources": sources, "files": files, "statistics": dict(statistics),
    }  # fmt: skip
    write_record(record_path(path, number), record)
    return record


def record_path(path: str, number: int) -> str:
    """Where it stands what is known of a part."""
    return join(path, f"part-{number:05d}.json")


def read_part(path: str, number: int) -> Record | None:
    """What is known of a part; None where it is not there yet, or its record is damaged."""
    try:
        return read_record(record_path(path, number))
    except DamagedRunError as error:
        logger.warning("%s", error)
        return None


def parts_of(path: str, count: int, sources: str) -> dict[int, Record]:
    """The parts that are there already, made of the same, with files of the size that they had."""
    sizes = {entry.name: entry.size for entry in list_entries(path) if entry.kind == FILE}
    found = {}
    for number in range(count):
        if record_path(path, number).rpartition("/")[2] not in sizes:
            continue
        record = read_part(path, number)
        if record is not None and record["sources"] == sources and whole(record, sizes):
            found[number] = record
    return found


def whole(part: Mapping[str, Any], sizes: Mapping[str, int]) -> bool:
    """Whether the files of a part are there with the size that they had; content is not read."""
    return all(sizes.get(file["key"]) == file["bytes"] for file in part["files"].values())


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
