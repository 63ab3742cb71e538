"""The units of a distillation: those of the first teacher, and where the others scored them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.distillation.teacher_runs import RankedFile, TeacherRun


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


def units_of(runs: tuple[TeacherRun, ...]) -> tuple[DistillUnit, ...]:
    """The units of the first run, each with the files of every run that hold its queries."""
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
        sizes = [len(of_unit) for of_unit in run.hashes]
        order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[order]
        self.unit_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]

    def files_of(self, hashes: npt.NDArray[np.uint64]) -> tuple[RankedFile, ...]:
        """Files of the units that hold any of these queries, in the order of the plan."""
        if len(self.hashes) == 0:
            return ()
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        units = np.unique(self.unit_of[places[self.hashes[places] == hashes]])
        return tuple(file for place in units.tolist() for file in self.files[place])
