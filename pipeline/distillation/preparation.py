"""From a configuration to opened teachers, units and a place to write, without Ray and torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import pipeline
from pipeline.candidates.inputs import Input
from pipeline.config import DistillConfig
from pipeline.distillation.given_files import GivenFiles
from pipeline.distillation.rules.teachers import refuse_mixed_scales
from pipeline.distillation.sets.folder import SetFolder
from pipeline.distillation.teacher_runs import TeacherRun, open_source, open_teacher
from pipeline.distillation.units import DistillUnit, units_of
from pipeline.storage.store import absolute, join

#: Raised when the content of a set's files changes for the same configuration and teachers.
FORMAT_VERSION = 1


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
    runs = tuple(open_teacher(teacher.run) for teacher in config.teachers)
    combination = config.combination
    refuse_mixed_scales([run.teacher for run in runs], combination.method, combination.scores)
    input_config, source = open_source(runs[0])
    given = GivenFiles.of(config)
    set_id = _set_id(config, runs, given)
    folder = SetFolder(join(absolute(config.output.path), set_id))
    return Prepared(
        config=config,
        teachers=runs,
        source=source,
        separator=input_config.text_separator,
        units=units_of(runs),
        set_id=set_id,
        folder=folder,
        given=given,
    )


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
            [run.teacher.run_id, teacher.weight]
            for run, teacher in zip(runs, config.teachers, strict=True)
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
