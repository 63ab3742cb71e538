"""What the units of a run hold together: as their files say it, or their driver."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, fields
from typing import Any

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
from pipeline.execution.runs.unit_counts import (
    UnitCounts,
    total_reasons,
    total_reused,
    total_special_tokens,
)


def has_counts(snapshot: dict[str, Any]) -> bool:
    """Whether a driver has counted units: one that has just begun, or of an older version, not."""
    return bool(snapshot.get("units_done")) and "documents_in_flight" in snapshot


def by_driver(snapshot: dict[str, Any]) -> dict[str, Any]:
    """What a driver has counted; the queries and special tokens of units are not among it."""
    return {
        "units_committed": snapshot["units_done"],
        "units_in_flight": snapshot["units_in_flight"],
        "queries": None,
        "documents": snapshot["documents"],
        "reused": snapshot["reused"] or None,
        "quarantined": sum(snapshot["quarantined"].values()),
        "reasons": snapshot["quarantined"],
        "special_tokens": {},
        "counted_at": snapshot["time"],
        "problems": [],
    }


def by_files(
    folder: RunFolder, plan: Plan, formats: Collection[str], finished: bool
) -> dict[str, Any]:
    """What the files of the units say."""
    entries = listed_once(folder, formats)
    committed = set(folder.committed(entries=entries))
    make = _published if finished else _unpublished
    counts, problems = make(folder, plan, committed, formats, entries)
    begun = {marker.unit for marker in at_work(folder.path, entries=entries)} - committed
    return {
        "units_committed": len(counts),
        "units_in_flight": len(begun),
        "queries": sum(unit.queries for unit in counts),
        "documents": sum(unit.documents for unit in counts),
        "reused": total_reused(counts),
        "quarantined": sum(unit.quarantined for unit in counts),
        "reasons": total_reasons(counts),
        "special_tokens": total_special_tokens(counts),
        "counted_at": None,
        "problems": [asdict(problem) for problem in problems],
    }


def _published(
    folder: RunFolder, plan: Plan, _: set[str], formats: Collection[str], entries: Entries
) -> tuple[list[UnitCounts], list[Problem]]:
    """By the manifest, which is sealed, and a listing."""
    manifest = published_manifest(folder)
    known = {item.name for item in fields(UnitCounts)}
    units = [
        UnitCounts(**{key: value for key, value in unit.items() if key in known})
        for unit in manifest["units"]
    ]
    if [unit.unit for unit in units] != [unit.name for unit in plan.units]:
        raise records.damaged(folder.file(MANIFEST), "it lists other units than plan.parquet")
    files = {file["key"]: file["size"] for unit in manifest["units"] for file in unit["files"]}
    wrong = wrong_sizes(folder, files, entries=entries)
    return units, wrong + strange_names(folder, files, formats=formats, entries=entries)


def _unpublished(
    folder: RunFolder, plan: Plan, committed: set[str], formats: Collection[str], entries: Entries
) -> tuple[list[UnitCounts], list[Problem]]:
    """By the footers of the units' files."""
    names = [unit.name for unit in plan.units if unit.name in committed]
    found = dict(zip(names, folder.counts(names, plan.run_id), strict=True))
    why = "damaged; the unit is scored again when the run goes on"
    damaged = [
        Problem(kind="damaged", path=folder.ranked(name), why=why)
        for name, counts in found.items()
        if counts is None
    ]
    planned = [unit.name for unit in plan.units]
    strange = strange_names(folder, {}, planned, formats, entries=entries)
    return [counts for counts in found.values() if counts is not None], damaged + strange
