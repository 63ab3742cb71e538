"""A staged copy as it lies in its folder.

::

    <staging>/<copy id>/
        plan.json                 how the copy is cut, and why; written before any part
        part-00000-<id>.parquet   candidates with their texts, whole under its name
        part-00000-<id>.json      its digest, size and rows; written after it
        manifest.json             every part; written last, so that a copy with it is whole

Every file is created in one step and has one content, whoever makes it: two drivers at once are
harmless, and what a killed one has left is gone on with.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline import failpoints
from pipeline.errors import DamagedRunError
from pipeline.outputs.sealed import sealed_json
from pipeline.staging.part_file import PartBytes
from pipeline.storage.files import FILE, FOLDER, FileIdentity
from pipeline.storage.sealed_files import read_or_remove
from pipeline.storage.store import (
    create_if_absent,
    delete,
    join,
    list_entries,
    read_versioned,
    write_whole,
)

logger = logging.getLogger("pipeline")

PLAN: Final = "plan.json"
MANIFEST: Final = "manifest.json"

_MOST_BYTES: Final = 8 << 30
_SHA256: Final = "sha256:"
_COPY_ID: Final = re.compile(r"[0-9a-f]{16}")
_PART: Final = re.compile(r"part-\d{5,}-[0-9a-f]{12}\.(parquet|json)")


@dataclass(frozen=True)
class CopyFolder:
    """Paths and small files of one copy."""

    path: str

    @property
    def copy_id(self) -> str:
        """What the copy is of, as 16 hex digits."""
        return self.path.rpartition("/")[2]

    def name(self, number: int) -> str:
        """Name of a part's file."""
        digest = hashlib.sha256(f"{self.copy_id} {number}".encode()).hexdigest()
        return f"part-{number:05d}-{digest[:12]}.parquet"

    def part(self, number: int) -> str:
        """Path of a part's file."""
        return join(self.path, self.name(number))

    def record(self, number: int) -> str:
        """Path of what is known of a part."""
        return f"{self.part(number).removesuffix('.parquet')}.json"

    def write_plan(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Write the plan, unless there is one, which is then returned."""
        path = join(self.path, PLAN)
        while not create_if_absent(path, sealed_json(plan)):
            found = self.plan()
            if found is not None:
                return found
        failpoints.reached("staging.planned")
        return dict(plan)

    def plan(self) -> dict[str, Any] | None:
        """The plan; None where there is none, or a damaged one, which is removed."""
        return self._json(PLAN)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest; None where the copy is not whole."""
        return self._json(MANIFEST)

    def _json(self, name: str) -> dict[str, Any] | None:
        return read_or_remove(join(self.path, name), most_bytes=_MOST_BYTES)

    def commit(self, number: int, part: PartBytes) -> dict[str, Any]:
        """Put a part and its record; returns the record."""
        path = self.part(number)
        digest = hashlib.sha256(part.data).hexdigest()
        failpoints.reached("staging.part_ready")
        if not create_if_absent(path, part.data):
            found = read_versioned(path, most_bytes=_MOST_BYTES)
            if found is None or hashlib.sha256(found[0]).hexdigest() != digest:
                logger.warning("%s is not what this copy holds there, and is made anew", path)
                write_whole(path, part.data)
        failpoints.reached("staging.part_written")
        record = {
            "made": time.time(), "number": number, "name": self.name(number),
            "bytes": len(part.data), "sha256": digest, "decoded_bytes": part.size,
            "rows": part.rows, "left_out": part.left_out,
            "queries": part.queries, "reasons": part.reasons,
        }  # fmt: skip
        if not create_if_absent(self.record(number), sealed_json(record)):
            write_whole(self.record(number), sealed_json(record))
        failpoints.reached("staging.part_recorded")
        return record

    def records(self, parts: int) -> dict[int, dict[str, Any]]:
        """What is known of the parts that are there with the size that they should have."""
        sizes = {e.name: e.size for e in list_entries(self.path) if e.kind == FILE}
        found = {}
        for number in range(parts):
            name = self.record(number).rpartition("/")[2]
            if name not in sizes or self.name(number) not in sizes:
                continue
            record = self._json(name)
            if record is not None and sizes[self.name(number)] == record["bytes"]:
                found[number] = record
        return found

    def finish(self, plan: Mapping[str, Any], records: Mapping[int, dict[str, Any]]) -> None:
        """Write the manifest of a copy whose parts are all there."""
        parts = [records[number] for number in range(len(records))]
        create_if_absent(join(self.path, MANIFEST), sealed_json({**plan, "written": parts}))
        failpoints.reached("staging.finished")

    def last_made(self) -> float:
        """When its last part was made, by the clock of who made it; 0 of an empty folder."""
        plan = self.plan()
        if plan is None:
            return 0.0
        parts = self.records(plan["parts"]).values()
        return float(max([plan["made"], *(part["made"] for part in parts)]))

    def remove(self) -> None:
        """Remove every file of the copy, the manifest first; what is no part of it stays."""
        delete(join(self.path, MANIFEST))
        names = [entry.name for entry in list_entries(self.path) if entry.kind == FILE]
        for name in names:
            if name == PLAN or _PART.fullmatch(name):
                delete(join(self.path, name))

    def forget(self, numbers: Sequence[int]) -> None:
        """Remove damaged parts, so that they are made anew."""
        delete(join(self.path, MANIFEST))
        for number in numbers:
            delete(self.record(number))
            delete(self.part(number))

    def missing(self, manifest: Mapping[str, Any]) -> list[int]:
        """Numbers of the parts whose file is not there, or not as large as it should be."""
        sizes = {e.name: e.size for e in list_entries(self.path) if e.kind == FILE}
        written = manifest["written"]
        return [part["number"] for part in written if sizes.get(part["name"]) != part["bytes"]]

    def damaged(self, manifest: Mapping[str, Any], files: Sequence[FileIdentity]) -> list[int]:
        """Numbers of the parts whose content is another than the manifest says.

        Args:
            manifest: of the copy.
            files: its parts as they are now; compared where their version is a hash of all bytes.
        """
        now = {file.path.rpartition("/")[2]: file.version for file in files}
        return [
            part["number"]
            for part in manifest["written"]
            if now[part["name"]].startswith(_SHA256)
            and now[part["name"]] != _SHA256 + part["sha256"]
        ]


def copies_below(folder: str) -> list[CopyFolder]:
    """The copies in a folder of copies; none where it is absent."""
    names = [entry.name for entry in list_entries(folder) if entry.kind == FOLDER]
    return [CopyFolder(join(folder, name)) for name in names if _COPY_ID.fullmatch(name)]


def damaged_error(folder: CopyFolder, numbers: Sequence[int]) -> DamagedRunError:
    """What is said of a copy that cannot be kept whole."""
    return DamagedRunError(
        f"{folder.part(numbers[0])}: not what was written there, and {len(numbers)} part(s) of the "
        "staged copy are, again and again; look for what changes files below input.staging"
    )
