"""Changes between two published runs, made or found finished."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.cluster.ray_start import RayJob
from pipeline.errors import DamagedRunError, NotFoundError, RunFailedError
from pipeline.execution.runs import records
from pipeline.execution.runs.ranked_reader import published_manifest
from pipeline.execution.runs.run_folder import RANKED, SUCCESS, RunFolder
from pipeline.refresh.changes.folder import MANIFEST, Changes, changes_path, damaged
from pipeline.refresh.changes.layout import Layout, layout_of
from pipeline.refresh.changes.part_files import Record, parts_of, whole, write_manifest
from pipeline.refresh.changes.places import place_of
from pipeline.refresh.changes.statistics import Statistics, summary
from pipeline.refresh.changes.work import RunFile, SideName, Work
from pipeline.storage.files import FILE
from pipeline.storage.store import delete, join, list_entries, open_own

logger = logging.getLogger("pipeline")

#: Raised when the same two runs get other bytes.
VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of two runs is compared at once, so that a bucket has room in memory.

    Attributes:
        rows: of both runs.
        stored_bytes: of their files.
    """

    rows: int = 1 << 20
    stored_bytes: int = 64 << 20


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """A published run as its manifest has it.

    Attributes:
        run_id: of the run.
        manifest_sha256: of its manifest.
        files: its ranked files.
        rows: in them.
        stored_bytes: likewise.
        columns: their schema; None: it has no file.
    """

    run_id: str
    manifest_sha256: str
    files: tuple[RunFile, ...]
    rows: int
    stored_bytes: int
    columns: pa.Schema | None

    @classmethod
    def open(cls, folder: RunFolder, side: SideName) -> PublishedRun:
        """Read a run's manifest, and no rows.

        Raises:
            NotFoundError: the run is not published.
            DamagedRunError: it is not as it was written; names the file.
        """
        described = folder.describe()
        if not folder.finished():
            raise NotFoundError(
                f"{folder.path}: not published, so that it cannot be compared; run the same job "
                "again to finish it"
            )
        manifest = published_manifest(folder)
        success = records.read(folder.file(SUCCESS), records.Success)
        assert success is not None, "published_manifest has read it"
        listed = [
            file
            for unit in manifest["units"]
            for file in unit["files"]
            if file["key"].startswith(f"{RANKED}/")
        ]
        files = tuple(
            RunFile(side=side, path=join(folder.path, file["key"]), sha256=file["sha256"])
            for file in listed
        )
        return cls(
            run_id=described["run_id"], manifest_sha256=success["manifest_sha256"], files=files,
            rows=sum(file["rows"] for file in listed),
            stored_bytes=sum(file["size"] for file in listed),
            columns=_columns(files[0].path) if files else None,
        )  # fmt: skip

    def named(self) -> dict[str, str]:
        """What a manifest of changes says of it."""
        return {"run_id": self.run_id, "manifest_sha256": self.manifest_sha256}


def make_changes(
    root: str,
    before: RunFolder | None,
    after: RunFolder,
    config: RayJob,
    *,
    sizes: Sizes = Sizes(),
) -> Changes:
    """The changes between two published runs; what is there of them already is not made again.

    Args:
        root: ``output.path``, where the folder of changes is.
        before: the run before; None: there is none, so that everything is new.
        after: the run that they lead to.
        config: which Ray makes them, and whether any does.
        sizes: how much is compared at once.

    Raises:
        NotFoundError: a run is not published.
        DamagedRunError: a file of a run is gone, or another than its manifest says; names it.
        InputContractError: a carried column has the name of one of ours.
        RunFailedError: workers failed; the same call goes on with what is left.
    """
    old = None if before is None else PublishedRun.open(before, "before")
    new = PublishedRun.open(after, "after")
    path = changes_path(root, None if old is None else old.run_id, new.run_id)
    about = {"version": VERSION, "from": old and old.named(), "to": new.named()}
    found = _finished(path, about)
    if found is not None:
        return found
    work, about = _work(path, old, new, sizes, about)
    made = parts_of(path, work.buckets, work.sources)
    todo = [number for number in range(work.buckets) if number not in made]
    with ExitStack() as staying:
        place = place_of(config, staying, buckets=work.buckets)
        for record in place.records(work, todo) if todo else ():
            made[record["number"]] = record
    if len(made) != work.buckets:
        raise RunFailedError(
            f"{path}: {len(made)} of {work.buckets} parts of the changes are there; run the same "
            "command again to go on"
        )
    parts: list[Record] = [made[number] for number in range(work.buckets)]
    told = summary([Statistics.from_json(part["statistics"]) for part in parts])
    write_manifest(path, about, parts, told)
    return Changes.open(path)


def _finished(path: str, about: Mapping[str, Any]) -> Changes | None:
    """The changes where they are wholly there, and of these two runs to the byte."""
    try:
        found = Changes.open(path)
        sizes = {entry.name: entry.size for entry in list_entries(path) if entry.kind == FILE}
        if not all(whole(part, sizes) for part in found.manifest["parts"]):
            raise damaged(join(path, MANIFEST), "parts that it lists are not there")
    except NotFoundError:
        return None
    except DamagedRunError as error:
        logger.warning("%s", error)
    else:
        if all(found.manifest.get(key) == value for key, value in about.items()):
            return found
    delete(join(path, MANIFEST))
    return None


def _work(
    path: str, old: PublishedRun | None, new: PublishedRun, sizes: Sizes, about: Mapping[str, Any]
) -> tuple[Work, dict[str, Any]]:
    runs = [new] if old is None else [old, new]
    rows, stored = sum(run.rows for run in runs), sum(run.stored_bytes for run in runs)
    buckets = max(1, -(-rows // sizes.rows), -(-stored // sizes.stored_bytes))
    nothing = schema.ranked_schema(pa.string(), pa.string())
    now = next((run.columns for run in reversed(runs) if run.columns is not None), nothing)
    then = None if old is None else old.columns or now
    layout = layout_of(then, now)
    about = {**about, "columns": _told(layout)}
    digest = hashlib.sha256(json.dumps([about, buckets], sort_keys=True).encode()).hexdigest()
    files = tuple(file for run in runs for file in run.files)
    work = Work(path=path, files=files, layout=layout, buckets=buckets, sources=digest)
    return work, about


def _told(layout: Layout) -> dict[str, Any]:
    """What the manifest says of columns."""
    return {
        "query_id": str(layout.query_id),
        "doc_id": str(layout.doc_id),
        "carried": [field.name for field in layout.carried],
        "only_before": list(layout.only_before),
        "only_after": list(layout.only_after),
    }


def _columns(path: str) -> pa.Schema:
    """Schema of a run's file, from its footer; its content is compared when it is read."""
    file = open_own(path)
    if file is None:
        raise records.damaged(path, "it is missing")
    with file:
        try:
            return pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise records.damaged(path, f"its footer cannot be read ({error})") from None
