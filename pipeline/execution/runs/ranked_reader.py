"""Reading a run's ranked rows back, whole: each file against its digest as it is read.

Of a published run only what its manifest lists is read, so nothing that lies beside it gets in.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from pipeline.errors import NotFoundError
from pipeline.execution.runs import records
from pipeline.execution.runs.run_files import read_listed, read_sealed
from pipeline.execution.runs.run_folder import MANIFEST, RANKED, SUCCESS, RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.storage.store import join, read_versioned

logger = logging.getLogger("pipeline")

_READERS = 8

#: Takes rows of some files, gives those that are kept.
Keep = Callable[[pa.Table], pa.Table]


def read_ranked(
    folder: RunFolder, *, columns: Sequence[str] | None = None, keep: Keep | None = None
) -> pa.Table:
    """The rows of every committed unit, in the order of the plan.

    Args:
        folder: of the run.
        columns: to read; None: all.
        keep: which rows of a file are kept, called by several threads as files are read, so that
            no more of the others is in memory than some files; None: all.

    Raises:
        NotFoundError: no unit is committed yet.
        DamagedRunError: a file is gone or not as it was written; names it.
    """
    if folder.finished():
        files = [
            (join(folder.path, file["key"]), file["sha256"])
            for unit in published_manifest(folder)["units"]
            for file in unit["files"]
            if file["key"].startswith(f"{RANKED}/")
        ]
        with ThreadPoolExecutor(_READERS) as pool:
            return pa.concat_tables(
                pool.map(lambda file: _kept(read_listed(file[0], file[1], columns), keep), files)
            )
    described, plan, committed = folder.describe(), folder.plan(), set(folder.committed())
    units = [unit.name for unit in plan.units if unit.name in committed]
    if not units:
        raise NotFoundError(f"{folder.path}: no unit is committed yet; run the job first")
    logger.warning(
        "%s: not finished, %d of %d units are committed; what follows is of those alone",
        folder.path,
        len(units),
        len(plan.units),
    )
    run_id = described["run_id"]
    with ThreadPoolExecutor(_READERS) as pool:
        return pa.concat_tables(
            pool.map(lambda unit: _kept(read_unit(folder, run_id, unit, columns), keep), units)
        )


def published_manifest(folder: RunFolder, *, run_id: str | None = None) -> dict[str, Any]:
    """The manifest of a published run, compared with ``run.json`` and ``_SUCCESS``.

    Args:
        folder: the run.
        run_id: what ``run.json`` says that it is; None: it is read.

    Raises:
        DamagedRunError: one of them is gone, damaged or of another run.
    """
    run_id = folder.describe()["run_id"] if run_id is None else run_id
    success = records.read(folder.file(SUCCESS), records.Success, run_id=run_id)
    path = folder.file(MANIFEST)
    found = read_versioned(path, most_bytes=records.Manifest.most_bytes)
    if found is None:
        raise records.damaged(path, "it is missing, though _SUCCESS says that it was written")
    manifest = records.parse(path, found[0], records.Manifest, run_id=run_id)
    if success is None or success["manifest_sha256"] != hashlib.sha256(found[0]).hexdigest():
        raise records.damaged(path, "it is another one than _SUCCESS says")
    return manifest


def read_unit(
    folder: RunFolder, run_id: str, unit: str, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of one committed unit, each of its files against the digest in its own footer.

    Raises:
        DamagedRunError: a file is gone, not as it was written, or of another run or unit.
    """
    path = folder.ranked(unit)
    closing = read_sealed(path, columns)
    try:
        parts = UnitCounts.from_metadata(closing.schema.metadata[b"counts"].decode()).parts
    except (KeyError, ValueError):
        raise records.damaged(path, "it does not close a unit") from None
    tables = [*(read_sealed(path, columns) for path in folder.files(unit, parts)[:-1]), closing]
    for number, table in enumerate(tables, start=1):
        found = tuple(table.schema.metadata[key].decode() for key in (b"run_id", b"unit"))
        part = table.schema.metadata.get(b"part", b"").decode()
        wanted = "" if number > parts else f"{number} of {parts + 1}"
        if (*found, part) != (run_id, unit, wanted):
            name = folder.part(unit, number) if wanted else path
            raise records.damaged(name, f"it is of run {found[0]}, unit {found[1]} {part}")
    return pa.concat_tables([table.replace_schema_metadata() for table in tables])


def _kept(table: pa.Table, keep: Keep | None) -> pa.Table:
    table = table.replace_schema_metadata()
    return table if keep is None else keep(table)
