"""Making a finished run visible: every file checked, then manifest, fence, pointer, ``_SUCCESS``.

Each step may be the last one before a crash: the next driver does them all again and comes to the
same bytes. The pointer is read before the lease is renewed for the last time and moved by
compare-and-swap after it, so a driver that was overtaken in between cannot move it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import failpoints
from pipeline.errors import RunFailedError
from pipeline.execution.lease import Lease, NoLease
from pipeline.execution.preparation import Prepared
from pipeline.execution.run_folder import MANIFEST, SUCCESS, RunFolder, UnitCounts, total_reasons
from pipeline.outputs.sealed import is_whole
from pipeline.storage.store import (
    create_if_absent,
    join,
    read_bytes,
    read_versioned,
    replace_if_unchanged,
    write_whole,
)

#: Files that are read at once; each may be as large as ``output.file_mib``.
_READERS: Final = 8


@dataclass(frozen=True, kw_only=True)
class CheckedUnit:
    """A unit whose files are as they were written.

    Attributes:
        counts: what it holds.
        files: key, size, rows and sha256 of each of its files.
    """

    counts: UnitCounts
    files: list[dict[str, Any]]


def check_units(prepared: Prepared) -> tuple[list[CheckedUnit], list[str]]:
    """Read every file of every unit back.

    Returns:
        Units that are whole, in the order of the plan, and names of those that are not.
    """
    names = [unit.name for unit in prepared.plan.units]
    folder, run_id = prepared.folder, prepared.plan.run_id
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(lambda name: _check(folder, run_id, name), names))
    damaged = [name for name, unit in zip(names, found, strict=True) if unit is None]
    return [unit for unit in found if unit is not None], damaged


def manifest_of(prepared: Prepared, units: Iterable[CheckedUnit]) -> dict[str, Any]:
    """Content of ``manifest.json``: the same for every driver that comes this far."""
    units = list(units)
    counts = [unit.counts for unit in units]
    plan, model = prepared.plan, prepared.model
    return {
        "run_id": plan.run_id,
        "fingerprint": plan.fingerprint,
        "model": model.name,
        "score_scale": model.score_scale,
        "units": [unit.counts.summary() | {"files": unit.files} for unit in units],
        "queries": sum(c.queries for c in counts),
        "documents": sum(c.documents for c in counts),
        "tokens": sum(c.tokens for c in counts),
        "quarantined": sum(c.quarantined for c in counts),
        "reasons": total_reasons(counts),
    }


def publish(folder: RunFolder, manifest: dict[str, Any], lease: Lease | NoLease) -> None:
    """Take every step from the manifest to ``_SUCCESS``.

    Raises:
        FencedError: another driver has taken over.
        RunFailedError: the manifest of an earlier session disagrees with the units.
    """
    path = join(folder.path, MANIFEST)
    data = json.dumps(manifest, indent=2).encode()
    if not create_if_absent(path, data) and read_bytes(path) != data:
        raise RunFailedError(
            f"{path}: written by an earlier session, and at odds with the units' files; somebody "
            "has changed the folder. Compare the two; delete it to publish what is there now"
        )
    failpoints.reached("manifest.written")
    pointer = {"run_id": manifest["run_id"], "manifest": f"{manifest['run_id']}/{MANIFEST}"}
    _move_pointer(folder.latest, pointer | {"epoch": lease.epoch}, lease)
    failpoints.reached("pointer.moved")
    create_if_absent(join(folder.path, SUCCESS), b"")
    failpoints.reached("success.written")


def _move_pointer(path: str, pointer: dict[str, Any], lease: Lease | NoLease) -> None:
    data = json.dumps(pointer, indent=2).encode()
    while True:
        found = read_versioned(path)
        lease.fence()
        if isinstance(lease, NoLease):
            write_whole(path, data)
            return
        if found is None:
            if create_if_absent(path, data):
                return
        elif found[0] == data or replace_if_unchanged(path, data, found[1]) is not None:
            return


def _check(folder: RunFolder, run_id: str, unit: str) -> CheckedUnit | None:
    """The unit with its files, or None when one of them is missing or damaged."""
    closing = _checked_file(folder, folder.ranked(unit))
    if closing is None:
        return None
    metadata, last = closing
    if (metadata[b"run_id"].decode(), metadata[b"unit"].decode()) != (run_id, unit):
        return None
    counts = UnitCounts.from_metadata(metadata[b"counts"].decode())
    others = [folder.part(unit, number) for number in range(1, counts.parts + 1)]
    if counts.quarantined:
        others.append(folder.quarantine(unit))
    checked = [_checked_file(folder, path) for path in others]
    files = [entry for found in checked if found is not None for entry in (found[1],)]
    if len(files) < len(others):
        return None
    return CheckedUnit(counts=counts, files=[*files[: counts.parts], last, *files[counts.parts :]])


def _checked_file(folder: RunFolder, path: str) -> tuple[dict[bytes, bytes], dict[str, Any]] | None:
    found = read_versioned(path)
    if found is None or not is_whole(found[0]):
        return None
    data = found[0]
    footer = pq.ParquetFile(pa.BufferReader(data)).metadata
    entry = {
        "key": path.removeprefix(f"{folder.path}/"),
        "size": len(data),
        "rows": footer.num_rows,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return footer.metadata, entry
