"""A training set on disk: every file's place and meaning.

::

    <output.path>/<set id>/
        set.json                   resolved configuration, teachers, versions
        canonical/train/part-…     the set: nested Parquet, see pipeline.training_data.canonical
        canonical/dev/part-…
        rejects/part-…             every candidate that is neither positive nor negative, and why
        decontamination.parquet    queries left out because they are evaluated on, and what they met
        rejected.parquet           queries and candidates by reason
        manifest.json              counts, coverage, spread, histograms
        _SUCCESS                   written last; a reader waits for it
        work/                      what a resumed job needs; may be deleted after _SUCCESS

Files of a unit carry its place in the teacher's plan. They are created, never replaced, and hold
nothing of time, host or attempt, so a job that was killed goes on where it was and ends with the
same bytes.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from pipeline.errors import RunFailedError
from pipeline.storage.store import (
    create_if_absent,
    exists,
    join,
    list_names,
    read_bytes,
    write_whole,
)

#: Steps of the work folder, in order; each holds one file per unit.
JUDGED: Final = "judged"
SURVEY: Final = "survey"
DECISIONS: Final = "decisions"
REQUESTS: Final = "requests"
GRANTED: Final = "granted"
RECORDS: Final = "records"

SUCCESS: Final = "_SUCCESS"
_WORK, _REJECTS = "work", "rejects"


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
        return {int(name[5:].split(".")[0]) for name in names if name.startswith("part-")}

    def rejects(self, place: int) -> str:
        """A unit's rejected candidates."""
        return join(self.path, _REJECTS, f"part-{place:05d}.parquet")

    def work(self, name: str) -> str:
        """A file of the work folder that belongs to no unit."""
        return join(self.path, _WORK, name)

    def file(self, name: str) -> str:
        """A file of the set that belongs to no unit."""
        return join(self.path, name)

    def put(self, path: str, data: bytes) -> None:
        """Create a file, or find the very same there.

        Raises:
            RunFailedError: it is there with other content.
        """
        if not create_if_absent(path, data) and read_bytes(path) != data:
            raise RunFailedError(
                f"{path}: was written before with other content; the set's folder was touched, or "
                "another version of this program wrote it: delete the folder and run again"
            )

    def put_json(self, path: str, data: Any) -> None:
        """:meth:`put` of JSON with sorted keys."""
        self.put(path, _json(data))

    def describe(self, description: dict[str, Any]) -> None:
        """Write ``set.json`` where it is not yet.

        The first session's stays: how many CPUs a task takes, and under which path a teacher was
        found, may be others when a job is resumed, for they do not change the set.
        """
        create_if_absent(self.file("set.json"), _json(description))

    def read_json(self, path: str) -> Any:
        """Content of a JSON file of the set; None where it is not there."""
        return json.loads(read_bytes(path)) if exists(path) else None

    def records(self, places: list[int]) -> list[dict[str, Any]]:
        """The commit records of units."""
        with ThreadPoolExecutor(16) as pool:
            data = pool.map(lambda place: read_bytes(self.step(RECORDS, place)), places)
            return [json.loads(one) for one in data]

    def finished(self) -> bool:
        """Whether the set was published."""
        return exists(self.file(SUCCESS))

    def manifest(self) -> dict[str, Any]:
        """Content of ``manifest.json``; empty before publication."""
        data: dict[str, Any] = self.read_json(self.file("manifest.json")) or {}
        return data

    def publish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, then ``_SUCCESS``."""
        write_whole(self.file("manifest.json"), _json(manifest))
        create_if_absent(self.file(SUCCESS), b"")


def _json(data: Any) -> bytes:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
