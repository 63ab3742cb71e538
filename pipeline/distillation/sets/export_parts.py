"""A part of a set in one format: what a worker writes of it, and the record that it was written."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.distillation.formats.base import TrainingFormat
from pipeline.distillation.formats.support.finding import build
from pipeline.distillation.rules import canonical
from pipeline.distillation.sets.check import read_part
from pipeline.distillation.sets.folder import SetFolder
from pipeline.hashes import Hashes, HashSet, stable_hashes
from pipeline.storage.store import join


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the canonical set."""

    folder: SetFolder
    file: Mapping[str, Any]
    split: str
    name: str

    def rows(self) -> pa.Table:
        """Its rows, compared with the manifest of the set."""
        return read_part(self.folder, self.file)


@dataclass(frozen=True, kw_only=True)
class Export:
    """What a worker needs to know.

    Attributes:
        folder: the export's path.
        format: its name.
        options: as given.
        rules: of the set.
    """

    folder: str
    format: str
    options: Mapping[str, Any]
    rules: Mapping[str, Any]

    @property
    def form(self) -> TrainingFormat:
        """The format with its options."""
        return build(self.format, self.options, rules=self.rules)

    @property
    def files(self) -> SetFolder:
        """Puts files, and notices where others lie."""
        return SetFolder(self.folder)

    def record(self, part: Part) -> str:
        """Path of a part's record."""
        return join(self.folder, "work", f"{part.split}-{part.name}.json")


def list_parts(folder: SetFolder, manifest: Mapping[str, Any]) -> list[Part]:
    """All parts that the manifest of a set lists, train before dev, in the order of the plan."""
    return [
        Part(folder=folder, file=file, split=split, name=name.removesuffix(".parquet"))
        for split in canonical.SPLITS
        for file in sorted(manifest["files"], key=lambda file: (len(file["key"]), file["key"]))
        for inside, _, name in [file["key"].rpartition("/")]
        if inside == f"canonical/{split}"
    ]


def write_part(task: tuple[Export, Part]) -> None:
    """Write the files of one part, then its record."""
    export, part = task
    form = export.form
    rows = part.rows()
    written = form.write(rows, split=part.split, part=part.name)
    for path, data in written.files.items():
        export.files.put(join(export.folder, path), data)
    record: dict[str, Any] = {
        "files": sorted(written.files),
        "rows": written.rows,
        "queries": written.queries,
        "left_out": dict(sorted(written.left_out.items())),
    }
    if form.separate_documents:
        record["documents"] = base64.b64encode(stable_hashes(written.documents).tobytes()).decode()
    export.files.put_json(export.record(part), record)


def write_documents(task: tuple[Export, Part, Hashes]) -> None:
    """Write the documents that this part is the first to use."""
    export, part, first = task
    form = export.form
    rows = part.rows()
    used = form.write(rows, split=part.split, part=part.name).documents
    mine = np.isin(stable_hashes(used), first)
    wanted = frozenset(doc_id for doc_id, own in zip(used, mine, strict=True) if own)
    files = form.write_documents(rows, wanted, split=part.split, part=part.name)
    for path, data in files.items():
        export.files.put(join(export.folder, path), data)


def first_uses(
    parts: Sequence[Part], records: Sequence[Mapping[str, Any]]
) -> list[tuple[Part, Hashes]]:
    """For each part the documents that no part before it uses; 8 bytes per document of the set."""
    seen = HashSet()
    uses = []
    for part, record in zip(parts, records, strict=True):
        hashes = np.frombuffer(base64.b64decode(record["documents"]), dtype="<u8")
        first = np.unique(hashes.astype(np.uint64))
        first = first[seen.add(first)]
        if len(first):
            uses.append((part, first))
    return uses
