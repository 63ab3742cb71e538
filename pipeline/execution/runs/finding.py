"""Which run a path stands for: a run's own folder, or an output folder's only or last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.execution.runs import records
from pipeline.execution.runs.reading import mapped
from pipeline.execution.runs.run_folder import LATEST, RUN, RunFolder
from pipeline.storage.files import FOLDER, Entry
from pipeline.storage.store import absolute, join, list_entries

#: Folders that are looked into at once.
_READERS = 16


def find_run(path: str, *, entries: Callable[[str], Sequence[Entry]] = list_entries) -> RunFolder:
    """The run at ``path``: a run folder, or an output folder's only or last published run.

    Args:
        path: of the folder.
        entries: lists a folder.

    Raises:
        NotFoundError: no run there, or several of which none was published; names them.
        DamagedRunError: the pointer to the last one is damaged.
    """
    path = absolute(path).rstrip("/")
    listed = entries(path)
    if any(entry.name == RUN for entry in listed):
        return RunFolder(path)
    folders = [entry.name for entry in listed if entry.kind == FOLDER]
    if len(folders) > 1 and any(entry.name == LATEST for entry in listed):
        # An output folder may hold a run for every night of years: only one is looked into.
        named = _named_last(path)
        if named in folders and is_run(join(path, named), entries=entries):
            return RunFolder(join(path, named))
    found = mapped(
        lambda name: is_run(join(path, name), entries=entries), folders, threads=_READERS
    )
    runs = [name for name, is_one in zip(folders, found, strict=True) if is_one]
    if len(runs) == 1:
        return RunFolder(join(path, runs[0]))
    if not runs:
        raise NotFoundError(
            f"{path}: no run here; give the folder of a run, <output.path>/<run id>"
        )
    latest = records.read(join(path, LATEST), records.Pointer)
    if latest is None:
        raise NotFoundError(f"{path}: holds {len(runs)} runs; give one of: {', '.join(runs)}")
    if latest["run_id"] not in runs:
        raise NotFoundError(
            f"{join(path, LATEST)}: names run {latest['run_id']}, which is not here; give one of: "
            f"{', '.join(runs)}"
        )
    return RunFolder(join(path, latest["run_id"]))


def holds_runs(path: str) -> bool:
    """Whether a path is that of a run's folder, or of an output folder with runs in it."""
    path = absolute(path).rstrip("/")
    inside = [entry.name for entry in list_entries(path) if entry.kind == FOLDER]
    return is_run(path) or any(is_run(join(path, name)) for name in inside)


def is_run(folder: str, *, entries: Callable[[str], Sequence[Entry]] = list_entries) -> bool:
    """Whether a folder is that of a run: whether it has a ``run.json``, of whatever content."""
    return any(entry.name == RUN for entry in entries(folder))


def _named_last(path: str) -> str | None:
    """The run that an output folder's pointer names; None where it is damaged or gone."""
    try:
        latest = records.read(join(path, LATEST), records.Pointer)
    except DamagedRunError:  # of no account where there is only one run
        return None
    return None if latest is None else str(latest["run_id"])
