"""What dead drivers and workers leave behind: found first, removed only when told to.

Nothing outside the given folder is looked at, and nothing that a reader or a resumed run needs is
ever listed: no unit, no plan, no lease, no staged copy that a run names. Links are not followed,
and what no run made is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from pipeline.errors import NotFoundError
from pipeline.execution.runs import attempts
from pipeline.execution.runs.finding import is_run
from pipeline.execution.runs.holder import RELEASED, read_holder
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.staging.copy_folder import copies_below
from pipeline.staging.needs import FOLDER as STAGED
from pipeline.storage.files import FILE, FOLDER
from pipeline.storage.probe import PREFIX
from pipeline.storage.store import (
    abort_upload,
    absolute,
    delete,
    is_folder,
    join,
    list_entries,
    list_temporary,
    list_uploads,
)

#: A probe of the store takes less than this; what is older was left by one that died.
_PROBE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """One thing to remove.

    Attributes:
        kind: temporary, upload, attempt, probe, or copy (of an input, staged).
        path: where it is.
        remove: removes it.
    """

    kind: str
    path: str
    remove: Callable[[], None]


def find_garbage(path: str, *, older_than_h: float, probe_s: float = _PROBE_S) -> list[Garbage]:
    """Everything below ``path`` that nobody needs.

    Args:
        path: a run folder, or an output folder with runs.
        older_than_h: temporary files and uploads that are younger may be in use and are left.
        probe_s: how long a probe's file must be seen to be called abandoned.

    Raises:
        NotFoundError: there is no such folder.
        DamagedRunError: the lease of a run is damaged, so nobody knows what is in use.
    """
    folder = absolute(path).rstrip("/") or "/"
    before = datetime.now(UTC) - timedelta(hours=older_than_h)
    garbage = [
        Garbage(kind="temporary", path=file.path, remove=partial(delete, file.path))
        for file in list_temporary(folder)
        if file.modified <= before
    ]
    uploads = list_uploads(folder)
    garbage += [
        Garbage(kind="upload", path=upload.path, remove=partial(abort_upload, upload))
        for upload in uploads
        if upload.started <= before
    ]
    for run in _runs(folder):
        garbage += _attempts(run)
    garbage += _probes(folder, probe_s)
    garbage += _copies(folder, before.timestamp())
    # Of a folder in an object store there may be nothing but uploads.
    if not garbage and not uploads and not is_folder(folder):
        raise NotFoundError(
            f"{folder}: no such folder; give the folder of a run, or an output folder with runs"
        )
    return garbage


def collect(garbage: list[Garbage]) -> None:
    """Remove what was found."""
    for item in garbage:
        item.remove()


def _runs(folder: str) -> Iterator[RunFolder]:
    inside = [entry.name for entry in list_entries(folder) if entry.kind == FOLDER]
    for path in (folder, *(join(folder, name) for name in inside)):
        if is_run(path):
            yield RunFolder(path)


def _attempts(run: RunFolder) -> list[Garbage]:
    """Marks in a run that nobody drives; in any other they say who is at work.

    Raises:
        DamagedRunError: the lease is damaged, so nobody knows.
    """
    marks = attempts.at_work(run.path)
    if marks and not run.finished():
        holder = read_holder(run.path)
        if holder is not None and holder.state != RELEASED:
            return []
    paths = [join(run.path, attempts.FOLDER, mark.name) for mark in marks]
    return [Garbage(kind="attempt", path=path, remove=partial(delete, path)) for path in paths]


def _copies(folder: str, before: float) -> list[Garbage]:
    """Staged copies that no run beside them reads, and to which nothing was added lately.

    Raises:
        DamagedRunError: a run does not say what it reads.
    """
    copies = copies_below(join(folder, STAGED))
    if not copies:
        return []
    described = [run.describe().get("staging") for run in _runs(folder)]
    read = {staging["copy_id"] for staging in described if staging is not None}
    return [
        Garbage(kind="copy", path=copy.path, remove=copy.remove)
        for copy in copies
        if copy.copy_id not in read and copy.last_made() <= before
    ]


def _probes(folder: str, seconds: float) -> list[Garbage]:
    def names() -> set[str]:
        entries = list_entries(folder)
        return {e.name for e in entries if e.kind == FILE and e.name.startswith(PREFIX)}

    left = names()
    if left:
        time.sleep(seconds)
        left &= names()
    paths = [join(folder, name) for name in sorted(left)]
    return [Garbage(kind="probe", path=path, remove=partial(delete, path)) for path in paths]
