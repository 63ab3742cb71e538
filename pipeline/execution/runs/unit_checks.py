"""Reading the files of units back, each against its own seal and what closes its unit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DamagedRunError
from pipeline.execution.runs.checked_units import CheckedUnit, CheckedUnits
from pipeline.execution.runs.listing import Problem
from pipeline.execution.runs.reading import mapped
from pipeline.execution.runs.run_files import MOST_BYTES
from pipeline.execution.runs.run_folder import QUARANTINE, RANKED, RunFolder, folders_of
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.outputs.sealed import NotWholeError, refuse_damage
from pipeline.storage.files import FILE
from pipeline.storage.store import join, list_entries, read_versioned

#: Files that are read at once; each may be as large as ``output.file_mib``.
_READERS: Final = 8


def check_units(
    folder: RunFolder, run_id: str, units: Sequence[str]
) -> tuple[CheckedUnits, dict[str, list[Problem]]]:
    """Read every file of every unit back.

    Returns:
        Units that are whole, in the order given, and what is wrong with each of the others.
    """
    whole = CheckedUnits()
    broken: dict[str, list[Problem]] = {}
    found = mapped(lambda unit: _check(folder, run_id, unit), units, threads=_READERS)
    for name, one in zip(units, found, strict=True):
        if isinstance(one, CheckedUnit):
            whole.add(one)
        else:
            broken[name] = one
    return whole, broken


def contents(folder: RunFolder, units: Collection[str], formats: Collection[str]) -> dict[str, str]:
    """The sha256 of every file that is there of some units, by path; whole or not.

    Args:
        folder: the run.
        units: names of the units.
        formats: ``output.formats`` of the run.
    """
    paths = [
        join(folder.path, name, entry.name)
        for name in (RANKED, QUARANTINE, *folders_of(formats))
        for entry in list_entries(join(folder.path, name))
        if entry.kind == FILE and folder.unit_of(f"{name}/{entry.name}") in units
    ]
    digests = zip(paths, mapped(sha256_of, paths, threads=_READERS), strict=True)
    return {path: digest for path, digest in digests if digest is not None}


def _check(folder: RunFolder, run_id: str, unit: str) -> CheckedUnit | list[Problem]:
    """The unit with its files, or what is wrong with them."""
    try:
        metadata, last = checked_file(folder, folder.ranked(unit), run_id, unit)
        counts = UnitCounts.from_metadata(metadata["counts"])
        if counts.unit != unit:
            raise ValueError(f"it has the counts of unit {counts.unit}")
    except _ProblemError as error:
        return [error.problem]
    except (KeyError, ValueError) as error:
        return [Problem(kind="damaged", path=folder.ranked(unit), why=f"no counts ({error})")]
    others: list[tuple[str, str | None]] = [
        (folder.part(unit, n), f"{n} of {counts.parts + 1}") for n in range(1, counts.parts + 1)
    ]
    if counts.reasons:
        others.append((folder.quarantine(unit), None))
    files: list[dict[str, Any]] = []
    wrong: list[Problem] = []
    for path, part in others:
        try:
            metadata, entry = checked_file(folder, path, run_id, unit)
            if metadata.get("part") != part or "counts" in metadata:
                why = "another file of the same unit"
                raise _ProblemError(Problem(kind="damaged", path=path, why=why))
            if counts.digests and counts.digests.get(entry["key"]) != entry["sha256"]:
                why = "of another scoring than the file that closes its unit"
                raise _ProblemError(Problem(kind="damaged", path=path, why=why))
            files.append(entry)
        except _ProblemError as error:
            wrong.append(error.problem)
    for entry in counts.format_files:
        problem = _not_listed(join(folder.path, entry["key"]), entry)
        wrong += [] if problem is None else [problem]
    if wrong:
        return wrong
    files[counts.parts : counts.parts] = [last]
    return CheckedUnit(counts=counts.compact(), files=files + counts.format_files)


def _not_listed(path: str, entry: dict[str, Any]) -> Problem | None:
    """What is wrong with a file that the one which closes its unit lists; None: nothing."""
    try:
        found = read_versioned(path, most_bytes=MOST_BYTES)
    except DamagedRunError as error:
        return Problem(kind="strange", path=path, why=why_of(path, error))
    if found is None:
        return Problem(kind="missing", path=path, why="missing")
    size, digest = len(found[0]), hashlib.sha256(found[0]).hexdigest()
    if (size, digest) == (entry["size"], entry["sha256"]):
        return None
    why = "its size or sha256 is not the one that the Parquet file of its unit lists"
    return Problem(kind="damaged", path=path, why=why)


class _ProblemError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def checked_file(
    folder: RunFolder, path: str, run_id: str, unit: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """What a unit's file says about itself, and its entry in the manifest."""

    def wrong(kind: str, why: str) -> _ProblemError:
        return _ProblemError(Problem(kind=kind, path=path, why=why))

    try:
        found = read_versioned(path, most_bytes=MOST_BYTES)
    except DamagedRunError as error:
        raise wrong("strange", why_of(path, error)) from None
    if found is None:
        raise wrong("missing", "missing")
    data = found[0]
    try:
        refuse_damage(data)
        footer = pq.ParquetFile(pa.BufferReader(data)).metadata
    except (NotWholeError, pa.ArrowException, OSError) as error:
        raise wrong("damaged", str(error)) from None
    metadata = {key.decode(): value.decode() for key, value in (footer.metadata or {}).items()}
    for key, expected in (("run_id", run_id), ("unit", unit)):
        if metadata.get(key) != expected:
            name = "run" if key == "run_id" else key
            raise wrong("damaged", f"it is of {name} {metadata.get(key)}, not of {expected}")
    return metadata, {
        "key": folder.key(path),
        "size": len(data),
        "rows": footer.num_rows,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def why_of(path: str, error: DamagedRunError) -> str:
    """An error's text without the path and the advice, which a list of many gives once."""
    why = str(error).removeprefix(f"{path}: ")
    return why.partition(". Put the file back")[0].partition(". Move it away")[0]


def sha256_of(path: str) -> str | None:
    """Of the content of a run's file; None where there is none."""
    found = read_versioned(path, most_bytes=MOST_BYTES)
    return None if found is None else hashlib.sha256(found[0]).hexdigest()
