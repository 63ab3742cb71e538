"""Reading a run back: every file against its own seal, the plan, and the manifest.

Two readers use it: publication, which must not show what is not whole, and whoever asks about a
run that was published long ago.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.candidates.planning import Plan
from pipeline.errors import DamagedRunError
from pipeline.execution.runs import attempts, lease, records
from pipeline.execution.runs.listing import Problem, strange_names
from pipeline.execution.runs.reading import mapped
from pipeline.execution.runs.run_files import MOST_BYTES
from pipeline.execution.runs.run_folder import (
    MANIFEST,
    PLAN,
    QUARANTINE,
    RANKED,
    REPORT,
    RUN,
    SUCCESS,
    RunFolder,
    folders_of,
)
from pipeline.execution.runs.unit_counts import (
    UnitCounts,
    total_reasons,
    total_reused,
    total_special_tokens,
)
from pipeline.outputs.sealed import NotWholeError, refuse_damage
from pipeline.storage.files import FILE
from pipeline.storage.store import join, list_entries, read_versioned

#: Files that are read at once; each may be as large as ``output.file_mib``.
_READERS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedUnit:
    """A unit whose files are as they were written.

    Attributes:
        counts: what it holds.
        files: key, size, rows and sha256 of each of its files.
    """

    counts: UnitCounts
    files: list[dict[str, Any]]


def check_units(
    folder: RunFolder, run_id: str, units: Sequence[str]
) -> tuple[list[CheckedUnit], dict[str, list[Problem]]]:
    """Read every file of every unit back.

    Returns:
        Units that are whole, in the order given, and what is wrong with each of the others.
    """
    found = list(mapped(lambda unit: _check(folder, run_id, unit), units, threads=_READERS))
    whole = [unit for unit in found if isinstance(unit, CheckedUnit)]
    broken = {
        name: one
        for name, one in zip(units, found, strict=True)
        if not isinstance(one, CheckedUnit)
    }
    return whole, broken


def manifest_of(
    *, run_id: str, fingerprint: str, model: str, score_scale: str, units: Sequence[CheckedUnit]
) -> dict[str, Any]:
    """Content of ``manifest.json``: the same for every driver that comes this far."""
    counts = [unit.counts for unit in units]
    reused = total_reused(counts)
    content: dict[str, Any] = {
        "run_id": run_id,
        "fingerprint": fingerprint,
        "model": model,
        "score_scale": score_scale,
        "units": [unit.counts.summary() | {"files": unit.files} for unit in units],
        "queries": sum(c.queries for c in counts),
        "documents": sum(c.documents for c in counts),
        "tokens": sum(c.tokens for c in counts),
        "quarantined": sum(c.quarantined for c in counts),
        "reasons": total_reasons(counts),
    }
    special = total_special_tokens(counts)
    if special:
        content["special_tokens"] = special
    return content if reused is None else content | {"reused": reused}


def audit(
    folder: RunFolder, plan: Plan | None = None, formats: Collection[str] | None = None
) -> list[Problem]:
    """Everything that is not as it was written, all files of the run read.

    Of a run that is not published, units that are not there yet are no problem, nor is what is in
    the making.

    Args:
        folder: the run.
        plan: what ``plan.parquet`` must hold; None: whatever it holds.
        formats: ``output.formats`` of the run; None: what ``run.json`` says.
    """
    found = _Found()
    for name, shape in ((lease.NAME, records.LeaseRecord), (REPORT, records.Report)):
        found.record(folder.file(name), shape, folder)
    for mark in attempts.at_work(folder.path):
        path = join(folder.path, attempts.FOLDER, mark.name)
        content = found.record(path, records.Mark, folder)
        if content is not None and any(content[key] != value for key, value in vars(mark).items()):
            found.problems.append(Problem(kind="damaged", path=path, why="it is another's mark"))
    described = found.record(folder.file(RUN), records.Description, folder, needed=True)
    try:
        stored = folder.plan() if described is not None else None
        if plan is not None and stored is not None and stored != plan:
            raise records.damaged(folder.file(PLAN), "it holds other units than this run")
    except DamagedRunError as error:
        found.damage(folder.file(PLAN), error)
        stored = None
    plan = plan or stored
    if plan is None:
        return found.problems
    if formats is None:
        formats = formats_of(described or {})
    finished = folder.finished()
    committed = set(folder.committed())
    names = [unit.name for unit in plan.units if finished or unit.name in committed]
    units, broken = check_units(folder, plan.run_id, names)
    files = {file["key"]: file["size"] for unit in units for file in unit.files}
    # What a damaged unit has is not known: its files are not strange, whatever they are.
    loose = {unit.name for unit in plan.units} - {unit.counts.unit for unit in units}
    found.problems += strange_names(folder, files, loose, formats)
    found.problems += [problem for problems in broken.values() for problem in problems]
    if finished:
        _published(found, folder, described, units, complete=not broken)
    else:  # a session may have died between any two of its last steps
        found.record(folder.file(MANIFEST), records.Manifest, folder)
        found.pointer(folder)
    return sorted(set(found.problems), key=lambda problem: (problem.path, problem.kind))


class _Found:
    """Problems as they come in."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def record(
        self, path: str, shape: type[records.Record], folder: RunFolder, *, needed: bool = False
    ) -> dict[str, Any] | None:
        """A record's content; None, and a problem, where it is not whole."""
        try:
            content = records.read(path, shape, run_id=records.run_id_of(folder.path))
        except DamagedRunError as error:
            self.damage(path, error)
            return None
        if content is None and needed:
            self.problems.append(Problem(kind="missing", path=path, why="missing"))
        return content

    def pointer(self, folder: RunFolder) -> dict[str, Any] | None:
        """Content of ``LATEST.json``, which may name another run; None where it is not whole."""
        try:
            return records.read(folder.latest, records.Pointer)
        except DamagedRunError as error:
            self.damage(folder.latest, error)
            return None

    def damage(self, path: str, error: DamagedRunError) -> None:
        self.problems.append(Problem(kind="damaged", path=path, why=why_of(path, error)))


def why_of(path: str, error: DamagedRunError) -> str:
    """An error's text without the path and the advice, which a list of many gives once."""
    why = str(error).removeprefix(f"{path}: ")
    return why.partition(". Put the file back")[0].partition(". Move it away")[0]


def _published(
    found: _Found,
    folder: RunFolder,
    described: dict[str, Any] | None,
    units: list[CheckedUnit],
    *,
    complete: bool,
) -> None:
    """Compare manifest, ``_SUCCESS`` and pointer with the files and with each other."""
    manifest = found.record(folder.file(MANIFEST), records.Manifest, folder, needed=True)
    success = found.record(folder.file(SUCCESS), records.Success, folder, needed=True)
    digest = _sha256(folder.file(MANIFEST)) if manifest is not None else None
    if manifest is not None and described is not None:
        model = described["model"]
        expected = manifest_of(
            run_id=described["run_id"],
            fingerprint=described["fingerprint"],
            model=model["name"],
            score_scale=model["score_scale"],
            units=units,
        )
        at_odds = [] if manifest == expected else _at_odds_files(folder, manifest, units)
        found.problems += at_odds
        if complete and manifest != expected and not at_odds:
            why = "it does not list the files and counts of this run"
            found.problems.append(Problem(kind="damaged", path=folder.file(MANIFEST), why=why))
    if success is not None and digest is not None and success["manifest_sha256"] != digest:
        found.problems.append(_at_odds(folder.file(SUCCESS), folder.file(MANIFEST)))
    known = len(found.problems)
    latest = found.pointer(folder)
    if latest is None:
        if len(found.problems) == known:
            found.problems.append(Problem(kind="missing", path=folder.latest, why="missing"))
    elif latest["run_id"] == records.run_id_of(folder.path) and (
        latest["manifest"] != f"{latest['run_id']}/{MANIFEST}"
        or (digest is not None and latest["manifest_sha256"] != digest)
    ):
        found.problems.append(_at_odds(folder.latest, folder.file(MANIFEST)))


def _at_odds_files(
    folder: RunFolder, manifest: dict[str, Any], units: list[CheckedUnit]
) -> list[Problem]:
    """Whole files that the manifest knows otherwise."""
    listed = {file["key"]: file for unit in manifest["units"] for file in unit["files"]}
    stored = {file["key"]: file for unit in units for file in unit.files}
    why = "whole, but not the file that manifest.json lists"
    return [
        Problem(kind="damaged", path=join(folder.path, key), why=why, at_odds=True)
        for key, file in stored.items()
        if key in listed and listed[key] != file
    ]


def _at_odds(path: str, manifest: str) -> Problem:
    return Problem(kind="damaged", path=path, why=f"it names another content than {manifest} has")


def _sha256(path: str) -> str | None:
    found = read_versioned(path, most_bytes=MOST_BYTES)
    return None if found is None else hashlib.sha256(found[0]).hexdigest()


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
    digests = zip(paths, mapped(_sha256, paths, threads=_READERS), strict=True)
    return {path: digest for path, digest in digests if digest is not None}


def formats_of(described: Mapping[str, Any]) -> list[str]:
    """``output.formats`` as ``run.json`` says it; a run of a time without formats has Parquet."""
    output = described.get("config", {}).get("output")
    formats = output.get("formats") if isinstance(output, dict) else None
    return [str(name) for name in formats] if isinstance(formats, list) else []


def files_of(units: Collection[CheckedUnit]) -> dict[str, int | None]:
    """Sizes of all files by key."""
    return {file["key"]: file["size"] for unit in units for file in unit.files}
