"""Changes as they lie in their folder, and reading them.

::

    <output.path>/_changes/<run id before, or none>-<run id>/
        rows-00000.parquet     a row per document that is new, changed or gone
        lists-00000.parquet    a row per query with such a row: its whole list of today
        part-00000.json        digests, sizes and counts of these two; written after them
        manifest.json          every part, and what was counted; written last

A part holds the queries whose id has a certain hash, so a query is in one part only. Every file has
one content, whoever makes it: two drivers at once are harmless, and what a killed one has left is
gone on with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.outputs.sealed import NotWholeError, sealed_json, unsealed_json
from pipeline.storage.parquet import table_of
from pipeline.storage.store import create_if_absent, join, read_versioned, write_whole

#: Below ``output.path``.
FOLDER: Final = "_changes"

MANIFEST: Final = "manifest.json"
NOTHING: Final = "none"
ROWS: Final = "rows"
LISTS: Final = "lists"

_MOST_BYTES: Final = 8 << 30


def changes_path(root: str, before: str | None, after: str) -> str:
    """The folder of the changes between two runs.

    Args:
        root: ``output.path`` of the runs.
        before: id of the run before; None: from nothing.
        after: id of the other.
    """
    return join(root, FOLDER, f"{before or NOTHING}-{after}")


@dataclass(frozen=True, kw_only=True)
class ChangePart:
    """One part of changes: all that is new, changed or gone of its queries.

    Attributes:
        folder: where it lies.
        number: of the part, from 0.
        files: ``key, bytes, sha256, rows`` of its files ``rows`` and ``lists``.
    """

    folder: str
    number: int
    files: Mapping[str, Mapping[str, Any]]

    def rows(self) -> pa.Table:
        """Changed rows, see :attr:`pipeline.refresh.changes.layout.Layout.rows`.

        Raises:
            DamagedRunError: the file is gone, or its content is another.
        """
        return self._read(ROWS)

    def lists(self) -> pa.Table:
        """Changed lists, see :attr:`pipeline.refresh.changes.layout.Layout.lists`.

        Raises:
            DamagedRunError: the file is gone, or its content is another.
        """
        return self._read(LISTS)

    def count(self, kind: str) -> int:
        """How many rows its file ``rows`` or ``lists`` has, without reading it."""
        return int(self.files[kind]["rows"])

    def _read(self, kind: str) -> pa.Table:
        about = self.files[kind]
        path = join(self.folder, about["key"])
        found = read_versioned(path, most_bytes=_MOST_BYTES)
        if found is None or hashlib.sha256(found[0]).hexdigest() != about["sha256"]:
            why = "it is missing" if found is None else "its sha256 is another"
            raise damaged(path, why)
        return table_of(found[0], path, max_expansion=float("inf")).replace_schema_metadata()


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Changes between two runs that are wholly there.

    Attributes:
        path: their folder.
        manifest: ``from`` (``run_id, manifest_sha256``, or null) and ``to``, ``columns``, ``parts``
            and ``statistics``, see :mod:`pipeline.refresh.changes.statistics`.
    """

    path: str
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: str) -> Changes:
        """The changes in a folder.

        Raises:
            NotFoundError: they are not there, or not wholly.
            DamagedRunError: their manifest is not as it was written.
        """
        manifest = read_record(join(path, MANIFEST))
        if manifest is None:
            raise NotFoundError(f"{path}: no changes here (no {MANIFEST})")
        return cls(path=path, manifest=manifest)

    @property
    def parts(self) -> tuple[ChangePart, ...]:
        """In order; some may be without rows."""
        return tuple(
            ChangePart(folder=self.path, number=part["number"], files=part["files"])
            for part in self.manifest["parts"]
        )

    @property
    def before(self) -> str | None:
        """Id of the run before; None: there is none, and everything is new."""
        found = self.manifest["from"]
        return None if found is None else str(found["run_id"])

    @property
    def after(self) -> str:
        """Id of the run that they lead to."""
        return str(self.manifest["to"]["run_id"])


def read_record(path: str) -> dict[str, Any] | None:
    """A small file of changes; None where it is not there.

    Raises:
        DamagedRunError: it is not as it was written.
    """
    found = read_versioned(path, most_bytes=_MOST_BYTES)
    if found is None:
        return None
    try:
        return unsealed_json(found[0])
    except NotWholeError as error:
        raise damaged(path, str(error)) from None


def write_file(path: str, data: bytes) -> None:
    """Write a file that has one content only; a damaged one is replaced."""
    if not create_if_absent(path, data):
        found = read_versioned(path, most_bytes=_MOST_BYTES)
        if found is None or found[0] != data:
            write_whole(path, data)


def write_record(path: str, content: Mapping[str, Any]) -> None:
    """Write a small file, as :func:`write_file`."""
    write_file(path, sealed_json(content))


def damaged(path: str, why: str) -> DamagedRunError:
    """The error for a file of changes that is not as it was written."""
    folder = path.rpartition("/")[0]
    return DamagedRunError(
        f"{path}: not as it was written: {why}. Changes can be made again from their runs: remove "
        f"the folder {folder} and run the same command"
    )
