"""A published run as one file of another format, made from what its manifest lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.execution.runs.ranked_reader import published_manifest
from pipeline.execution.runs.run_files import read_listed
from pipeline.execution.runs.run_folder import RANKED, RunFolder
from pipeline.outputs import finding
from pipeline.outputs.base import Sink
from pipeline.schema import REUSE_COLUMNS
from pipeline.storage.store import absolute, is_folder, join, write_pieces


@dataclass(frozen=True, kw_only=True)
class ExportedRun:
    """What an export wrote.

    Attributes:
        path: the file.
        rows: ranked rows that it holds.
        left_out: rows of the run that the format does not hold.
        why: what those are.
    """

    path: str
    rows: int
    left_out: int
    why: str


def export_run(folder: RunFolder, name: str, *, output: str | None = None) -> ExportedRun:
    """Write a published run as one file, a unit at a time, in the order of the plan.

    It holds what the files of that format hold, one after the other, where ``output.formats`` had
    them written with the run.

    Args:
        folder: the run.
        name: of the format.
        output: the file, which is replaced where it is there; default: beside the run's folder,
            named like it.

    Raises:
        ConfigurationError: no such format, one whose files cannot be joined, or a place where the
            file must not lie.
        NotFoundError: the run is not published.
        DamagedRunError: a file is gone or is not the one that the manifest lists; names it.
        InputContractError: the format cannot hold a value; names both.
    """
    sink = finding.find(name, setting="--format")
    if not sink.joinable:
        raise ConfigurationError(
            f"--format {name}: cannot be written as one file of a whole run. Formats that can: "
            f"{', '.join(_joinable())}. A run has its rows as Parquet already, in "
            f"{join(folder.path, RANKED)}"
        )
    path = f"{folder.path}{sink.suffix}" if output is None else absolute(output)
    _refuse_place(folder, path)
    if not folder.finished():
        raise NotFoundError(
            f"{folder.path}: this run is not published yet, so there is nothing to export; "
            "`rerank status` says how far it is, `rerank resume` finishes it"
        )
    manifest = published_manifest(folder)
    written = _Written(folder, sink, manifest)
    write_pieces(path, written.pieces())
    return ExportedRun(path=path, rows=written.rows, left_out=written.left_out, why=sink.leaves_out)


class _Written:
    """Counts of what passes through."""

    def __init__(self, folder: RunFolder, sink: Sink, manifest: dict[str, Any]) -> None:
        self.rows = self.left_out = 0
        self._folder, self._sink, self._manifest = folder, sink, manifest
        self._reuses = manifest.get("reused") is not None

    def pieces(self) -> Iterator[bytes]:
        """The bytes of each unit."""
        shared = ("run_id", "fingerprint", "model", "score_scale")
        about = {key: str(self._manifest[key]) for key in shared}
        first = True
        for unit in self._manifest["units"]:
            tables = [
                read_listed(join(self._folder.path, file["key"]), file["sha256"])
                for file in unit["files"]
                if file["key"].startswith(f"{RANKED}/")
            ]
            rows = pa.concat_tables([table.replace_schema_metadata() for table in tables])
            if self._reuses:
                rows = rows.drop_columns(list(REUSE_COLUMNS))
            held = self._sink.held(rows)
            if first:
                yield self._sink.heading(held)
            first = False
            self.rows += held.num_rows
            self.left_out += rows.num_rows - held.num_rows
            yield self._sink.write(held, about | {"unit": str(unit["unit"])})


def _joinable() -> list[str]:
    return [name for name in finding.names() if finding.find(name).joinable]


def _refuse_place(folder: RunFolder, path: str) -> None:
    """A file inside the run's folder would not be the run's, and is refused whenever it is read."""
    if is_folder(path) or path.endswith("/"):
        raise ConfigurationError(f"--output {path}: is a folder; give the name of a file")
    inside, run = (one if "://" in one else os.path.realpath(one) for one in (path, folder.path))
    if inside.startswith(f"{run.rstrip('/')}/"):
        raise ConfigurationError(
            f"--output {path}: lies in the folder of the run, which holds nothing but what the run "
            "itself made; give a file elsewhere"
        )
