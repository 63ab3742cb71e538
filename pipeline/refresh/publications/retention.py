"""What may go: publications past both limits, then runs that no publication names any more.

Publications go oldest first, so that those which are left have no gap, and the current one never
goes. A run goes only where, at the moment of its removal, no publication names it and nobody is
about to publish it (:mod:`pipeline.refresh.publications.claims`), and where no driver is at work on
it. Runs that no refresh made, and that were never published here, stay.

Everything is removed in an order in which it can be killed at any step: the next call goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pipeline import failpoints
from pipeline.errors import ConfigurationError
from pipeline.execution.runs import records
from pipeline.execution.runs.finding import is_run
from pipeline.execution.runs.garbage import Garbage, collect
from pipeline.execution.runs.holder import RELEASED, read_holder
from pipeline.execution.runs.removal import remove_run
from pipeline.execution.runs.run_folder import LATEST, RunFolder
from pipeline.refresh.publications.claims import (
    CLAIMS,
    MARKS,
    Announced,
    announce,
    announced,
)
from pipeline.refresh.publications.leftovers import (
    CHANGES,
    REUSE,
    old_announcements,
    unnamed_folders,
)
from pipeline.refresh.publications.reading import history, root_of
from pipeline.refresh.publications.record import FOLDER as PUBLISHED
from pipeline.refresh.publications.record import Publication, path_of
from pipeline.storage.files import FOLDER
from pipeline.storage.store import delete, join, last_modified, list_entries


def beyond(
    publications: Sequence[Publication],
    *,
    keep_last: int | None,
    keep_days: int | None,
    now: datetime,
) -> list[Publication]:
    """The publications that both limits let go, the oldest first; never the last one.

    Args:
        publications: in ascending order of their sequences.
        keep_last: so many are kept; None: as many as ``keep_days`` says.
        keep_days: those that were made less than so many days ago are kept; None: as many as
            ``keep_last`` says. With neither, all are kept.
        now: the present.
    """
    if keep_last is None and keep_days is None:
        return []
    last = len(publications) - max(keep_last or 1, 1)
    since = now - timedelta(days=keep_days) if keep_days is not None else None
    going: list[Publication] = []
    for place, one in enumerate(publications):
        if place >= last or (since is not None and one.at > since):
            break
        going.append(one)
    return going


def retire(
    root: str,
    *,
    keep_last: int | None,
    keep_days: int | None,
    now: datetime,
    older_than_h: float = 24.0,
    delete: bool = False,
) -> list[Garbage]:
    """Remove what is past the limits, and what nothing names.

    Args:
        root: ``output.path``.
        keep_last: publications to keep, from 1; None: no such limit.
        keep_days: days for which publications are kept; None: no such limit.
        now: the present, with its zone.
        older_than_h: what was never published is left for so long, since a driver may be at it.
        delete: remove it; otherwise it is only listed.

    Returns:
        What goes, in the order in which it goes.

    Raises:
        ConfigurationError: a limit is out of range.
        DamagedRunError: a publication, pointer or run does not say what it names, so nobody knows
            what may go.
        StorageError: the store does not say when files were written.
    """
    for name, value, least in (("keep_last", keep_last, 1), ("keep_days", keep_days, 0)):
        if value is not None and value < least:
            raise ConfigurationError(f"{name}: {value}, expected a whole number from {least}")
    root = root_of(root)
    if not {PUBLISHED, REUSE, CHANGES} & {entry.name for entry in list_entries(root)}:
        return []  # an output folder without a refresh
    before = now - timedelta(hours=older_than_h)
    found = history(root)[::-1]
    going = beyond(found, keep_last=keep_last, keep_days=keep_days, now=now)
    going = _not_at_work(root, going, before)
    stays = {one.run_id for one in found[len(going) :]} | latest_of(root)
    described = {run_id: RunFolder(join(root, run_id)).describe() for run_id in _runs(root)}
    leaving = {one.run_id for one in going} | {mark.run_id for mark in announced(root, MARKS)}
    if going or keep_last is not None or keep_days is not None:
        leaving |= _superseded(root, found, described, before)
    runs = {run_id: _Leaving(root, run_id) for run_id in sorted(leaving - stays)}
    items = old_announcements(root, stays, before)
    items += [_pointer(root, one, runs.get(one.run_id)) for one in going]
    items += [
        Garbage(kind="run", path=join(root, run_id), remove=run.remove)
        for run_id, run in runs.items()
    ]
    remaining = {run_id: about for run_id, about in described.items() if run_id not in runs}
    items += unnamed_folders(root, remaining, before)
    if delete:
        collect(items)
    return items


@dataclass
class _Leaving:
    """A run that goes, once it is sure that nobody names it.

    Attributes:
        root: the output folder.
        run_id: the run.
        marks: what was announced.
    """

    root: str
    run_id: str
    marks: list[Announced] = field(default_factory=list)

    def mark(self) -> None:
        """Say that it goes, so that it is not published any more, and so that the next call goes on
        with it if this one is killed."""
        if not self.marks:
            self.marks.append(announce(self.root, MARKS, self.run_id))
            failpoints.reached("retention.marked")

    def remove(self) -> None:
        """Remove it, unless somebody has named it meanwhile."""
        self.mark()
        if self.run_id in named_now(self.root):
            for mark in self.marks:
                delete(mark.path)
            return
        remove_run(RunFolder(join(self.root, self.run_id)))
        failpoints.reached("retention.run_removed")
        for mark in announced(self.root, MARKS):
            if mark.run_id == self.run_id:
                delete(mark.path)


def named_now(root: str) -> set[str]:
    """Runs that somebody is about to publish, or that a publication or ``LATEST.json`` names.

    Claims are looked at first, see :mod:`pipeline.refresh.publications.claims`.
    """
    claims = {claim.run_id for claim in announced(root, CLAIMS)}
    return claims | {one.run_id for one in history(root)} | latest_of(root)


def latest_of(root: str) -> set[str]:
    """The run that ``LATEST.json`` names, where there is one."""
    pointer = records.read(join(root, LATEST), records.Pointer)
    return set() if pointer is None else {pointer["run_id"]}


def _pointer(root: str, one: Publication, run: _Leaving | None) -> Garbage:
    path = path_of(root, one.sequence)
    return Garbage(kind="publication", path=path, remove=partial(_remove_pointer, path, run))


def _remove_pointer(path: str, run: _Leaving | None) -> None:
    if run is not None:
        run.mark()
    delete(path)
    failpoints.reached("retention.pointer_removed")


def _runs(root: str) -> list[str]:
    names = [entry.name for entry in list_entries(root) if entry.kind == FOLDER]
    return [name for name in names if records.run_id_of(name) and is_run(join(root, name))]


def _not_at_work(root: str, going: list[Publication], before: datetime) -> list[Publication]:
    """The publications before the first whose run somebody drives, say to repair it."""
    for place, one in enumerate(going):
        holder = read_holder(join(root, one.run_id))
        if holder is not None and holder.state != RELEASED and holder.time > before.timestamp():
            return going[:place]
    return going


def _superseded(
    root: str, found: Sequence[Publication], described: dict[str, dict[str, Any]], before: datetime
) -> set[str]:
    """Runs of a refresh that nobody published, and that can no longer be: a later night was."""
    if not found:
        return set()
    night = found[-1].date.isoformat()
    return {
        run_id
        for run_id, about in described.items()
        if (about.get("reuse") or {}).get("date", night) < night
        and run_id not in {one.run_id for one in found}
        and _older(join(root, run_id), before)
    }


def _older(folder: str, before: datetime) -> bool:
    modified = last_modified(folder)
    return modified is not None and modified <= before
