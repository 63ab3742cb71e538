"""A training set on disk: every file's place and meaning.

::

    <output.path>/<set id>/
        set.json                   resolved configuration, teachers, versions
        canonical/train/part-…     the set: nested Parquet, see rules.canonical
        canonical/dev/part-…
        rejects/part-…             every candidate that is neither positive nor negative, and why
        decontamination.parquet    queries left out because they are evaluated on, and what they met
        rejected.parquet           queries and candidates by reason
        manifest.json              counts, coverage, spread, histograms; every file with its sha256
        _SUCCESS                   the manifest's sha256, written last; a reader waits for it
        work/                      what a resumed job needs; may be deleted after _SUCCESS

Files of a unit carry its place in the teacher's plan. They are created, never replaced, and hold
nothing of time, host or attempt, so a job that was killed goes on where it was and ends with the
same bytes. JSON files and those of ``work/`` are sealed (pipeline.outputs.sealed) and say where
they belong, so one that is damaged, or stands in the place of another, is known by itself; the
others are known by the manifest, see :mod:`pipeline.distillation.sets.check`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipeline.errors import DamagedSetError, RunFailedError
from pipeline.execution.runs.records import run_id_of
from pipeline.execution.runs.run_files import MOST_BYTES
from pipeline.outputs.sealed import (
    NotWholeError,
    refuse_damage,
    sealed_bytes,
    sealed_json,
    unsealed_json,
)
from pipeline.storage.parquet import table_of
from pipeline.storage.store import (
    create_if_absent,
    exists,
    join,
    list_names,
    read_versioned,
    write_whole,
)

#: Steps of the work folder, in order; each holds one file per unit.
JUDGED: Final = "judged"
SURVEY: Final = "survey"
DECISIONS: Final = "decisions"
REQUESTS: Final = "requests"
GRANTED: Final = "granted"
RECORDS: Final = "records"

DESCRIPTION: Final = "set.json"
MANIFEST: Final = "manifest.json"
SUCCESS: Final = "_SUCCESS"
REJECTS: Final = "rejects"
_WORK: Final = "work"
_STEP: Final = re.compile(r"part-(\d{5,})\.(?:json|parquet)")

#: What a sealed file says of itself: where in the folder it belongs, and in which folder, where
#: that is named for a set.
_FILE, _SET = "file", "set"


@dataclass(frozen=True)
class SetFolder:
    """Paths and small files of one set."""

    path: str

    def step(self, step: str, place: int) -> str:
        """A unit's file of one step of the work."""
        suffix = ".json" if step == RECORDS else ".parquet"
        return join(self.path, _WORK, step, f"part-{place:05d}{suffix}")

    def done(self, step: str) -> set[int]:
        """Places of the units whose file of a step is there."""
        names = list_names(join(self.path, _WORK, step))
        return {int(found[1]) for name in names if (found := _STEP.fullmatch(name))}

    def rejects(self, place: int) -> str:
        """A unit's rejected candidates."""
        return join(self.path, REJECTS, f"part-{place:05d}.parquet")

    def work(self, name: str) -> str:
        """A file of the work folder that belongs to no unit."""
        return join(self.path, _WORK, name)

    def file(self, name: str) -> str:
        """A file of the set that belongs to no unit."""
        return join(self.path, name)

    def key(self, path: str) -> str:
        """A path below the folder as the manifest names it."""
        return path.removeprefix(f"{self.path.rstrip('/')}/")

    def put(self, path: str, data: bytes) -> None:
        """Create a file, or find the very same there.

        Raises:
            RunFailedError: it is there with other content.
        """
        if not create_if_absent(path, data) and self.read(path) != data:
            raise RunFailedError(
                f"{path}: was written before with other content; the set's folder was touched, or "
                "another version of this program wrote it: delete the folder and run again"
            )

    def put_json(self, path: str, data: Mapping[str, Any]) -> None:
        """:meth:`put` of sealed JSON with sorted keys."""
        self.put(path, self._json(path, data))

    def put_table(
        self, path: str, table: pa.Table, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        """:meth:`put` of a sealed Parquet file."""
        self.put(path, sealed_bytes(table, {**(metadata or {}), **self._place(path)}))

    def describe(self, description: dict[str, Any]) -> None:
        """Write ``set.json`` where it is not yet.

        The first session's stays: how many CPUs a task takes, and under which path a teacher was
        found, may be others when a job is resumed, for they do not change the set.

        Raises:
            DamagedSetError: it is there, and is not as it was written.
        """
        path = self.file(DESCRIPTION)
        if not create_if_absent(path, self._json(path, description)):
            self.read_json(path)

    def read(self, path: str) -> bytes:
        """Content of a file.

        Raises:
            DamagedSetError: it is not there.
        """
        found = read_versioned(path, most_bytes=MOST_BYTES)
        if found is None:
            raise damaged(path, "it is missing")
        return found[0]

    def read_json(self, path: str) -> Any:
        """Content of a sealed JSON file of the set; None where it is not there.

        Raises:
            DamagedSetError: it is not as it was written, or belongs elsewhere.
        """
        found = read_versioned(path, most_bytes=MOST_BYTES)
        return None if found is None else self._parsed(path, found[0])

    def read_table(self, path: str, *, columns: Sequence[str] | None = None) -> pa.Table:
        """A sealed Parquet file of the set; the schema's metadata is what it was written with.

        Raises:
            DamagedSetError: it is gone, not as it was written, or belongs elsewhere.
        """
        data = self.read(path)
        try:
            refuse_damage(data)
        except NotWholeError as error:
            raise damaged(path, str(error)) from None
        table = table_of(data, path, columns=columns)
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        self._refuse_moved(path, metadata)
        return table

    def records(self, places: list[int]) -> list[dict[str, Any]]:
        """The commit records of units.

        Raises:
            DamagedSetError: one is gone, or not as it was written.
        """

        def read(place: int) -> dict[str, Any]:
            path = self.step(RECORDS, place)
            return self._parsed(path, self.read(path))

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(read, places))

    def finished(self) -> bool:
        """Whether the set was published."""
        return exists(self.file(SUCCESS))

    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json`` of a finished set, compared with ``_SUCCESS``.

        Raises:
            DamagedSetError: one of them is gone, not as it was written, or of another set.
        """
        path = self.file(MANIFEST)
        data = self.read(path)
        manifest = self._parsed(path, data)
        success = self.read_json(self.file(SUCCESS)) or {}
        if success.get("manifest_sha256") != hashlib.sha256(data).hexdigest():
            raise damaged(path, "it is another one than _SUCCESS says")
        return manifest

    def publish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, then ``_SUCCESS``."""
        path, success = self.file(MANIFEST), self.file(SUCCESS)
        data = self._json(path, manifest)
        write_whole(path, data)
        digest = {"manifest_sha256": hashlib.sha256(data).hexdigest()}
        create_if_absent(success, self._json(success, digest))

    def _json(self, path: str, data: Mapping[str, Any]) -> bytes:
        sorted_keys = json.loads(json.dumps(data, sort_keys=True))
        return sealed_json({**sorted_keys, **self._place(path)})

    def _parsed(self, path: str, data: bytes) -> dict[str, Any]:
        try:
            content = unsealed_json(data)
        except NotWholeError as error:
            raise damaged(path, str(error)) from None
        self._refuse_moved(path, content)
        return {key: value for key, value in content.items() if key not in (_FILE, _SET)}

    def _place(self, path: str) -> dict[str, str]:
        return {_FILE: self.key(path), _SET: run_id_of(self.path) or ""}

    def _refuse_moved(self, path: str, said: Mapping[str, Any]) -> None:
        here = self._place(path)
        if said.get(_FILE) != here[_FILE]:
            raise damaged(path, f"it was written as {said.get(_FILE)!r}")
        if here[_SET] and said.get(_SET) and said[_SET] != here[_SET]:
            raise damaged(path, f"it is of set {said[_SET]!r}")


def damaged(path: str, why: str) -> DamagedSetError:
    """The error for a file of a set, or of an export, that is not as it was written."""
    return DamagedSetError(
        f"{path}: not as it was written: {why}. Put the file back from a copy, or delete the "
        "folder of the set or export that it is of, and run the same command again: the same "
        "runs and rules give the same files"
    )
