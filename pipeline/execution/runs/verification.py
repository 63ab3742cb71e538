"""Reading a run back: its records and units, against the plan, the manifest, and each other.

Two readers use it: publication, which must not show what is not whole, and whoever asks about a
run that was published long ago. How the files of a unit are read back is in
:mod:`pipeline.execution.runs.unit_checks`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pipeline.candidates.planning import Plan
from pipeline.errors import DamagedRunError
from pipeline.execution.runs import attempts, holder, records
from pipeline.execution.runs.checked_units import CheckedUnits, manifest_of
from pipeline.execution.runs.listing import Problem, strange_names
from pipeline.execution.runs.run_folder import MANIFEST, PLAN, REPORT, RUN, SUCCESS, RunFolder
from pipeline.execution.runs.unit_checks import check_units, sha256_of, why_of
from pipeline.storage.store import join


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
    for name, shape in ((holder.NAME, records.LeaseRecord), (REPORT, records.Report)):
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
    names = [unit.name for unit in plan.units]
    if not finished:
        committed = set(folder.committed())
        names = [name for name in names if name in committed]
        del committed  # nobody needs it while a million files are read
    units, broken = check_units(folder, plan.run_id, names)
    # What a damaged unit has is not known: its files are not strange, whatever they are.
    loose = {unit.name for unit in plan.units}.difference(units.names())
    found.problems += strange_names(folder, units.sizes(), loose, formats)
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


def _published(
    found: _Found,
    folder: RunFolder,
    described: dict[str, Any] | None,
    units: CheckedUnits,
    *,
    complete: bool,
) -> None:
    """Compare manifest, ``_SUCCESS`` and pointer with the files and with each other."""
    manifest = found.record(folder.file(MANIFEST), records.Manifest, folder, needed=True)
    success = found.record(folder.file(SUCCESS), records.Success, folder, needed=True)
    digest = sha256_of(folder.file(MANIFEST)) if manifest is not None else None
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
    folder: RunFolder, manifest: dict[str, Any], units: CheckedUnits
) -> list[Problem]:
    """Whole files that the manifest knows otherwise."""
    stored = {file["key"]: _entry_hash(file) for file in units.files()}
    why = "whole, but not the file that manifest.json lists"
    return [
        Problem(kind="damaged", path=join(folder.path, file["key"]), why=why, at_odds=True)
        for unit in manifest["units"]
        for file in unit["files"]
        if file["key"] in stored and stored[file["key"]] != _entry_hash(file)
    ]


def _entry_hash(file: Mapping[str, Any]) -> int:
    """What stands for a file's entry in this process: a million entries take a gigabyte."""
    return hash(json.dumps(file, sort_keys=True))


def _at_odds(path: str, manifest: str) -> Problem:
    return Problem(kind="damaged", path=path, why=f"it names another content than {manifest} has")


def formats_of(described: Mapping[str, Any]) -> list[str]:
    """``output.formats`` as ``run.json`` says it; a run of a time without formats has Parquet."""
    output = described.get("config", {}).get("output")
    formats = output.get("formats") if isinstance(output, dict) else None
    return [str(name) for name in formats] if isinstance(formats, list) else []
