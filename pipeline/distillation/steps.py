"""One step of a distillation over all of its units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.candidates.inputs import Input
from pipeline.config import DistillConfig
from pipeline.distillation.sets.folder import SetFolder
from pipeline.distillation.sets.part_tasks import run_parts
from pipeline.distillation.units import DistillUnit


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs to know; sent to each task once.

    Attributes:
        config: the distillation.
        source: the first teacher's input.
        separator: what joins its text columns.
        folder: path of the set.
        description: what the footer of every part says, beside its split and counts.
    """

    config: DistillConfig
    source: Input
    separator: str
    folder: str
    description: dict[str, Any]

    @property
    def set_folder(self) -> SetFolder:
        """Paths of the set."""
        return SetFolder(self.folder)


Task = Callable[[Job, DistillUnit], None]


def run_step(
    job: Job, step: str, units: tuple[DistillUnit, ...], task: Task, report: Callable[[int], None]
) -> int:
    """Do one step for every unit that does not have its file yet.

    Args:
        job: what workers need.
        step: the step's name, which is its folder.
        units: all units.
        task: does the step for one unit and writes its file last.
        report: called after each unit with the number of units done.

    Returns:
        Units done by this call.
    """
    done = job.set_folder.done(step)
    todo = [(job, unit) for unit in units if unit.place not in done]
    run_parts(partial(_apply, task), todo, job.config.ray, report)
    return len(todo)


def _apply(task: Task, item: tuple[Job, DistillUnit]) -> None:
    task(*item)
