"""A finished run as a teacher: its scores, its units, and the input that it read."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.planning import Plan
from pipeline.config import InputConfig
from pipeline.distillation.rules.teachers import Teacher
from pipeline.errors import InputContractError, NotFoundError
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.listing import error_of, wrong_sizes
from pipeline.execution.runs.ranked_reader import published_manifest
from pipeline.execution.runs.records import damaged
from pipeline.execution.runs.run_files import footer_metadata
from pipeline.execution.runs.run_folder import MANIFEST, RANKED, RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.storage.store import join

#: Path of a file of a published run, and the sha256 that its manifest gives for it.
RankedFile = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class TeacherRun:
    """One opened teacher.

    Attributes:
        teacher: who it is.
        folder: path of its run.
        plan: its units.
        hashes: for each unit uint64 [queries], hashes of the ids of its queries.
        files: for each unit the files that hold its rows, in order.
    """

    teacher: Teacher
    folder: str
    plan: Plan
    hashes: tuple[npt.NDArray[np.uint64], ...]
    files: tuple[tuple[RankedFile, ...], ...]


def open_teacher(path: str) -> TeacherRun:
    """Open a finished run.

    Args:
        path: its folder, or an output folder that holds it.

    Raises:
        NotFoundError: there is none, or it is not finished.
        DamagedRunError: its folder is not as it was written.
        InputContractError: its files hold scores of different scales.
    """
    folder = find_run(path)
    if not folder.finished():
        raise NotFoundError(
            f"{folder.path}: this run is not finished, so it cannot teach; run its job again first"
        )
    described, plan, manifest = folder.describe(), folder.plan(), published_manifest(folder)
    listed = {unit["unit"]: unit["files"] for unit in manifest["units"]}
    if list(listed) != [unit.name for unit in plan.units]:
        raise damaged(folder.file(MANIFEST), "it lists other units than plan.parquet")
    sizes = {file["key"]: file["size"] for files in listed.values() for file in files}
    if problems := wrong_sizes(folder, sizes):
        raise error_of(folder, problems)
    with ThreadPoolExecutor(16) as pool:
        footers = list(pool.map(lambda unit: _footer(folder, plan.run_id, unit.name), plan.units))
    scales = Counter(footer["score_scale"] for footer in footers)
    if len(scales) > 1:
        raise InputContractError(
            f"{folder.path}: its files hold scores of different scales ({', '.join(scales)})"
        )
    model = described["model"]
    teacher = Teacher(
        name=model["name"],
        revision=model["revision"],
        digest=model["digest"],
        licence=model["licence"],
        score_scale=next(iter(scales), model["score_scale"]),
        run_id=described["run_id"],
    )
    counts = [UnitCounts.from_metadata(footer["counts"]) for footer in footers]
    ranked = {
        unit: tuple(
            (join(folder.path, file["key"]), file["sha256"])
            for file in files
            if file["key"].startswith(f"{RANKED}/")
        )
        for unit, files in listed.items()
    }
    return TeacherRun(
        teacher=teacher,
        folder=folder.path,
        plan=plan,
        hashes=tuple(of_unit.query_hashes for of_unit in counts),
        files=tuple(ranked[unit.name] for unit in plan.units),
    )


def open_source(run: TeacherRun) -> tuple[InputConfig, Input]:
    """The input that a run read, by the absolute paths that it recorded, unchanged since.

    Of a run that read a staged copy it is that copy.

    Raises:
        NotFoundError: a file of it is gone.
        InputContractError: a file of it has another content than when the run scored it.
    """
    described = RunFolder(run.folder).describe()
    recorded = {file["path"]: file for file in described["input"]}
    staging = described.get("staging")
    read = described["config"]["input"] if staging is None else staging["input"]
    config = InputConfig.model_validate(read | {"path": list(recorded)})
    source = open_input(config, staged=staging is not None)
    for file in source.files:
        known = recorded[file.identity.path]
        if (file.identity.size, file.identity.version) != (known["size"], known["version"]):
            raise InputContractError(
                f"{file.identity.path}: changed since {run.folder} scored it, so its texts may not "
                "be what was scored; rank the new input, then distill from that run"
            )
    return config, source


def _footer(folder: RunFolder, run_id: str, unit: str) -> dict[str, str]:
    """What the file that closes a unit says about itself; its rows are compared when read."""
    path = folder.ranked(unit)
    footer = footer_metadata(path)
    try:
        named = (footer["run_id"], footer["unit"], UnitCounts.from_metadata(footer["counts"]).unit)
        if named == (run_id, unit, unit) and footer["score_scale"]:
            return footer
    except (KeyError, ValueError):
        pass
    raise damaged(path, f"its footer is not that of unit {unit} of run {run_id}")
