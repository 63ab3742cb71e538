"""From a configuration to opened teachers, units and a place to write, without Ray and torch."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import pipeline
from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.planning import Plan
from pipeline.config import DistillConfig, InputConfig
from pipeline.distillation.given_files import GivenFiles
from pipeline.distillation.rules.teachers import Teacher, refuse_mixed_scales
from pipeline.distillation.sets.folder import SetFolder
from pipeline.errors import InputContractError, NotFoundError
from pipeline.execution.listing import error_of, wrong_sizes
from pipeline.execution.ranked_reader import published_manifest
from pipeline.execution.records import damaged
from pipeline.execution.run_files import footer_metadata
from pipeline.execution.run_folder import MANIFEST, RANKED, RunFolder, find_run
from pipeline.execution.unit_counts import UnitCounts
from pipeline.storage.store import absolute, join

#: Raised when the content of a set's files changes for the same configuration and teachers.
FORMAT_VERSION = 1


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


@dataclass(frozen=True, kw_only=True)
class DistillUnit:
    """A piece of work: a unit of the first teacher, and where each teacher scored its queries.

    Attributes:
        place: its number in the plan.
        name: the first teacher's name of it.
        start: first global row of its range.
        stop: row after the last.
        documents: candidates, by the plan.
        ranked: for each teacher the ranked files that hold these queries.
    """

    place: int
    name: str
    start: int
    stop: int
    documents: int
    ranked: tuple[tuple[RankedFile, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A distillation that is ready to run.

    Attributes:
        config: as given.
        teachers: opened.
        source: the first teacher's input, which holds the texts.
        separator: what joined its text columns.
        units: all units.
        set_id: 16 hex digits from teachers, rules and the content of judgements.
        folder: where the set is or will be.
        given: judgements, evaluation queries and the corpus.
    """

    config: DistillConfig
    teachers: tuple[TeacherRun, ...]
    source: Input
    separator: str
    units: tuple[DistillUnit, ...]
    set_id: str
    folder: SetFolder
    given: GivenFiles

    def description(self) -> dict[str, Any]:
        """Content of ``set.json``."""
        return {
            "set_id": self.set_id,
            "teachers": [asdict(run.teacher) | {"folder": run.folder} for run in self.teachers],
            # What may change between two sessions of the same set is not of the set.
            "config": self.config.model_dump(mode="json", exclude={"exports", "student"}),
            "version": pipeline.__version__,
        }


def prepare_distillation(config: DistillConfig) -> Prepared:
    """Open the teachers and find the units.

    Raises:
        NotFoundError: a run is missing or not finished, or its input is gone.
        DamagedRunError: a run's folder is not as it was written.
        InputContractError: the input changed since the run, or a run's files disagree.
        ConfigurationError: scores of different scales would be averaged.
    """
    runs = tuple(_open_teacher(teacher.run) for teacher in config.teachers)
    combination = config.combination
    refuse_mixed_scales([run.teacher for run in runs], combination.method, combination.scores)
    input_config, source = _open_source(runs[0])
    given = GivenFiles.of(config)
    set_id = _set_id(config, runs, given)
    folder = SetFolder(join(absolute(config.output.path), set_id))
    return Prepared(
        config=config,
        teachers=runs,
        source=source,
        separator=input_config.text_separator,
        units=_units(runs),
        set_id=set_id,
        folder=folder,
        given=given,
    )


def _open_teacher(path: str) -> TeacherRun:
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
        hashes=tuple(one.query_hashes for one in counts),
        files=tuple(ranked[unit.name] for unit in plan.units),
    )


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


def _open_source(run: TeacherRun) -> tuple[InputConfig, Input]:
    """The input that a run read, by the absolute paths that it recorded, unchanged since."""
    described = RunFolder(run.folder).describe()
    recorded = {file["path"]: file for file in described["input"]}
    config = InputConfig.model_validate(described["config"]["input"] | {"path": list(recorded)})
    source = open_input(config)
    for file in source.files:
        known = recorded[file.identity.path]
        if (file.identity.size, file.identity.version) != (known["size"], known["version"]):
            raise InputContractError(
                f"{file.identity.path}: changed since {run.folder} scored it, so its texts may not "
                "be what was scored; rank the new input, then distill from that run"
            )
    return config, source


def _units(runs: tuple[TeacherRun, ...]) -> tuple[DistillUnit, ...]:
    first, *others = runs
    indices = [_Index(run) for run in others]
    return tuple(
        DistillUnit(
            place=place,
            name=unit.name,
            start=unit.start,
            stop=unit.stop,
            documents=unit.documents,
            ranked=(first.files[place], *(index.files_of(hashes) for index in indices)),
        )
        for place, (unit, hashes) in enumerate(zip(first.plan.units, first.hashes, strict=True))
    )


class _Index:
    """Which unit of a run holds a query; 12 bytes per query.

    Runs over the same input have units that match or overlap; runs over other files with the same
    ids are found as well, and read best where their lists are in a similar order.
    """

    def __init__(self, run: TeacherRun) -> None:
        self.files = run.files
        hashes = np.concatenate([np.zeros(0, np.uint64), *run.hashes])
        sizes = [len(one) for one in run.hashes]
        order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[order]
        self.unit_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]

    def files_of(self, hashes: npt.NDArray[np.uint64]) -> tuple[RankedFile, ...]:
        """Files of the units that hold any of these queries, in the order of the plan."""
        if len(self.hashes) == 0:
            return ()
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        found = np.unique(self.unit_of[places[self.hashes[places] == hashes]])
        return tuple(file for place in found.tolist() for file in self.files[place])


def _set_id(config: DistillConfig, runs: tuple[TeacherRun, ...], given: GivenFiles) -> str:
    """Teachers by run id, everything that changes the set, and the content of what it reads."""
    rules = config.model_dump(
        mode="json", include={"combination", "positives", "negatives", "split", "seed"}
    )
    del rules["positives"]["qrels"], rules["positives"]["corpus"]
    clean = config.decontaminate
    judged = config.positives.qrels
    parts = {
        "teachers": [
            [run.teacher.run_id, one.weight] for run, one in zip(runs, config.teachers, strict=True)
        ],
        "rules": rules,
        "decontaminate": [clean.near_duplicates, clean.documents],
        "qrels": [] if judged is None else [given.sha256[judged]],
        "evaluation": [
            [given.sha256[path] for path in paths] for paths in (clean.queries, clean.qrels)
        ],
        "corpus": [file.described() for file in given.corpus],
        "format": FORMAT_VERSION,
        "version": pipeline.__version__.split(".")[0],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
