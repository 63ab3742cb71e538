"""A run's folder removed: first what makes it a published run, last what makes it a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pipeline import failpoints
from pipeline.execution.runs import attempts, holder
from pipeline.execution.runs.run_folder import (
    MANIFEST,
    PLAN,
    REPORT,
    REPORT_PAGE,
    RUN,
    SUCCESS,
    RunFolder,
)
from pipeline.storage.files import FILE, FOLDER
from pipeline.storage.store import delete, join, list_entries, remove_empty

_LAST: Final = (MANIFEST, REPORT_PAGE, REPORT, holder.NAME, PLAN, RUN)

#: Files that are removed at once.
_REMOVERS: Final = 16


def remove_run(folder: RunFolder) -> None:
    """Remove every file that the run made; what it did not make stays, with the folder.

    ``_SUCCESS`` goes first, so that a reader that begins now says that the run is not finished, and
    ``run.json`` last, so that a removal that was killed is gone on with.
    """
    delete(folder.file(SUCCESS))
    failpoints.reached("retention.run_hidden")
    inside = [entry.name for entry in list_entries(folder.path) if entry.kind == FOLDER]
    for name in inside:
        with ThreadPoolExecutor(_REMOVERS) as pool:
            list(pool.map(delete, _made(folder, name)))
        remove_empty(join(folder.path, name))
    for name in _LAST:
        delete(folder.file(name))
    remove_empty(folder.path)


def _made(folder: RunFolder, name: str) -> Iterator[str]:
    """Paths of the run's own files in one of its folders."""
    for entry in list_entries(join(folder.path, name)):
        marks = name == attempts.FOLDER and attempts.Marker.from_name(entry.name) is not None
        if entry.kind == FILE and (marks or folder.unit_of(f"{name}/{entry.name}") is not None):
            yield join(folder.path, name, entry.name)
