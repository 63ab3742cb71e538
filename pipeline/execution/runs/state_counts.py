"""What the units of a run hold together, by whatever says it in the fewest requests.

====================  ==========================================  ===============================
units                 published                                   before
====================  ==========================================  ===============================
up to :data:`FEW`     a listing, compared with the manifest       footers of the units' files
up to :data:`MANY`    the same                                    the driver's, or else footers
more                  the manifest, which is sealed               the driver's, or else file names
====================  ==========================================  ===============================

The driver's counts are in the lease. A listing is a request for 1,000 names, a footer two, and all
answers take time to parse. ``rerank status --check`` looks at all files of any run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any, Final

from pipeline.candidates.planning import Plan
from pipeline.execution.runs import records
from pipeline.execution.runs.attempts import at_work
from pipeline.execution.runs.listing import (
    Entries,
    Problem,
    listed_once,
    strange_names,
    wrong_sizes,
)
from pipeline.execution.runs.ranked_reader import published_manifest
from pipeline.execution.runs.run_folder import MANIFEST, RunFolder
from pipeline.execution.runs.unit_counts import Totals, UnitCounts, candidates_among
from pipeline.storage.files import Entry

#: Units past which the files of a run are not listed to compare them with its manifest or plan.
MANY: Final = 1_000

#: Units past which no footers are read of what the driver has counted.
FEW: Final = 100

#: What counted the units, as the state of a run names it.
BY_FILES: Final = "files"
BY_MANIFEST: Final = "manifest"
BY_DRIVER: Final = "driver"
BY_NAMES: Final = "names"


def counts_of(
    folder: RunFolder,
    plan: Plan,
    *,
    formats: Collection[str],
    finished: bool,
    snapshot: dict[str, Any],
    entries: Entries,
) -> dict[str, Any]:
    """What is committed and quarantined, what is wrong, and ``counted_by`` what that is known.

    Args:
        folder: the run.
        plan: its plan.
        formats: its ``output.formats``.
        finished: whether it was published.
        snapshot: what its driver left in the lease; empty: nothing.
        entries: lists a folder.

    Raises:
        DamagedRunError: the manifest of a published run is damaged.
    """
    units = len(plan.units)
    # A driver that has just begun has counted nothing, one of an older version not all of it.
    counted = bool(snapshot.get("units_done")) and "documents_in_flight" in snapshot
    if counted and units > FEW and not finished:
        return _by_driver(folder, plan, snapshot, formats, entries)
    if units <= MANY:
        return _by_files(folder, plan, formats, finished, entries)
    make = _by_manifest if finished else _by_names
    return make(folder, plan, formats, entries)


def _by_files(
    folder: RunFolder, plan: Plan, formats: Collection[str], finished: bool, entries: Entries
) -> dict[str, Any]:
    """By a listing, and the manifest or the footers of the units' files."""
    entries = listed_once(folder, formats, entries=entries)
    committed = set(folder.committed(entries=entries))
    if finished:
        totals, files = _of_manifest(folder, plan)
        problems = wrong_sizes(folder, files, entries=entries)
        problems += strange_names(folder, files, formats=formats, entries=entries)
    else:
        names = [unit.name for unit in plan.units if unit.name in committed]
        totals, problems = Totals(), []
        for name, counts in zip(names, folder.counts(names, plan.run_id), strict=True):
            if counts is None:
                problems.append(_damaged(folder, name))
            else:
                totals.add(counts)
        problems += strange_names(folder, {}, _names(plan), formats, entries=entries)
    return _told(
        totals,
        counted_by=BY_FILES,
        units_in_flight=len(_begun(folder, committed, entries)),
        problems=problems,
    )


def _by_manifest(
    folder: RunFolder, plan: Plan, formats: Collection[str], entries: Entries
) -> dict[str, Any]:
    """By the manifest; what is strange is seen beside the folders of the run, not in them."""
    totals, files = _of_manifest(folder, plan)

    def outside(path: str) -> Sequence[Entry]:
        return entries(path) if path == folder.path else ()

    problems = strange_names(folder, files, formats=formats, entries=outside)
    return _told(totals, counted_by=BY_MANIFEST, units_in_flight=0, problems=problems)


def _by_driver(
    folder: RunFolder,
    plan: Plan,
    snapshot: dict[str, Any],
    formats: Collection[str],
    entries: Entries,
) -> dict[str, Any]:
    """By what a driver has counted; the queries and special tokens of units are not among it."""
    problems: list[Problem] = []
    if len(plan.units) <= MANY:
        entries = listed_once(folder, formats, entries=entries)
        problems = strange_names(folder, {}, _names(plan), formats, entries=entries)
    return {
        "counted_by": BY_DRIVER,
        "counted_at": snapshot["time"],
        "units_committed": snapshot["units_done"],
        "units_in_flight": snapshot["units_in_flight"],
        "queries": None,
        "documents": snapshot["documents"],
        "reused": snapshot["reused"] or None,
        "quarantined": candidates_among(snapshot["quarantined"]),
        "reasons": snapshot["quarantined"],
        "special_tokens": {},
        "problems": [asdict(problem) for problem in problems],
    }


def _by_names(
    folder: RunFolder, plan: Plan, formats: Collection[str], entries: Entries
) -> dict[str, Any]:
    """By the names of the units' files; documents are those that the plan has for them."""
    entries = listed_once(folder, formats, entries=entries)
    committed = set(folder.committed(entries=entries))
    there = [unit for unit in plan.units if unit.name in committed]
    problems = strange_names(folder, {}, _names(plan), formats, entries=entries)
    return {
        "counted_by": BY_NAMES,
        "counted_at": None,
        "units_committed": len(there),
        "units_in_flight": len(_begun(folder, committed, entries)),
        "queries": None,
        "documents": sum(unit.documents for unit in there),
        "reused": None,
        "quarantined": None,
        "reasons": {},
        "special_tokens": {},
        "problems": [asdict(problem) for problem in problems],
    }


def _told(
    totals: Totals, *, counted_by: str, units_in_flight: int, problems: Iterable[Problem]
) -> dict[str, Any]:
    """Of units whose own counts are known."""
    return {
        "counted_by": counted_by,
        "counted_at": None,
        "units_committed": totals.units,
        "units_in_flight": units_in_flight,
        "queries": totals.queries,
        "documents": totals.documents,
        "reused": totals.reused,
        "quarantined": totals.quarantined,
        "reasons": totals.reasons,
        "special_tokens": totals.special_tokens,
        "problems": [asdict(problem) for problem in problems],
    }


def _of_manifest(folder: RunFolder, plan: Plan) -> tuple[Totals, dict[str, int]]:
    """Totals of the units of a published run, and the size in bytes of each file by its key."""
    totals, sizes = Totals(), dict[str, int]()
    listed = published_manifest(folder, run_id=plan.run_id)["units"]
    for unit, planned in zip_longest(listed, plan.units):
        if unit is None or planned is None or unit["unit"] != planned.name:
            raise records.damaged(folder.file(MANIFEST), "it lists other units than plan.parquet")
        totals.add(UnitCounts.from_entry(unit))
        sizes.update((file["key"], file["size"]) for file in unit["files"])
    return totals, sizes


def _damaged(folder: RunFolder, unit: str) -> Problem:
    why = "damaged; the unit is scored again when the run goes on"
    return Problem(kind="damaged", path=folder.ranked(unit), why=why)


def _begun(folder: RunFolder, committed: set[str], entries: Entries) -> set[str]:
    """Units that workers are at."""
    return {marker.unit for marker in at_work(folder.path, entries=entries)} - committed


def _names(plan: Plan) -> list[str]:
    return [unit.name for unit in plan.units]
