"""A reuse table from its first look to its manifest; what is there of it stays as it is."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pipeline.candidates.inputs import Input
from pipeline.candidates.planning import Plan, plan_units
from pipeline.candidates.reuse import REUSE, ReuseTable
from pipeline.config import JobConfig
from pipeline.errors import RunFailedError
from pipeline.execution.runs.identity import ModelIdentity, score_fingerprint
from pipeline.execution.task_session import TaskSession, task_session
from pipeline.hashes import Hashes
from pipeline.refresh.reuse.in_process import InProcess
from pipeline.refresh.reuse.matching import total
from pipeline.refresh.reuse.previous import Previous
from pipeline.refresh.reuse.routing import Routes
from pipeline.refresh.reuse.table_folder import TableFolder, parts_of_records
from pipeline.refresh.reuse.work import OldUnit, Record, Sizes, Work, parts_of, tasks_of
from pipeline.rerankers.base import Reranker
from pipeline.storage.store import absolute, join

logger = logging.getLogger("pipeline")

#: Raised when a table of the same nights gets other bytes.
VERSION: Final = 1

#: How much is done at once.
SIZES: Final = Sizes()

_FIRST_NIGHT: Final = "first night: no run is published here yet"


class Place(Protocol):
    """Where the work of a table is done."""

    def queries(self, work: Work) -> Iterator[Hashes]:
        """Hashes of the queries of each part, in order."""

    def records(self, work: Work, routes: Routes, todo: list[int]) -> Iterator[Record]:
        """Parts as they are committed, in any order."""


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Makes the reuse table of a night; :func:`pipeline.execution.preparation.prepare` calls it.

    Attributes:
        config: the job.
        previous: the run that is published; None: none is, or it is to be left alone.
        date: the night.
        max_age_days: how old scores may get; None: of any age.
        why_not: why nothing is to be reused where ``previous`` is None, as a sentence.
        staying: takes Ray over, where it is started to make a table.
        sizes: how much is done at once.
    """

    config: JobConfig
    previous: Previous | None
    date: datetime.date
    max_age_days: int | None
    staying: ExitStack
    why_not: str = _FIRST_NIGHT
    sizes: Sizes = SIZES

    def __call__(self, source: Input, model: ModelIdentity, reranker: Reranker) -> ReuseTable:
        """The table; it is made, or what is missing of it, where it is not whole.

        Args:
            source: today's input, opened.
            model: what scores it.
            reranker: likewise.

        Raises:
            DamagedRunError: a file of the published run is gone or not as it was written; names it.
            InputContractError: today's input cannot be read, or changes.
            RunFailedError: not every part came.
        """
        fingerprint = score_fingerprint(model)
        plan = self._plan(source, fingerprint)
        folder = TableFolder(join(absolute(self.config.output.path), REUSE, plan.run_id))
        table = folder.table()
        if table is not None:
            return table
        begun = time.monotonic()
        old, why = self._old(model, fingerprint)
        work = Work(
            source=source, separator=self.config.input.text_separator, folder=folder,
            parts=parts_of(plan.units, self.sizes.part), old=tasks_of(old, self.sizes.part),
            pointwise=reranker.pointwise, images=reranker.reads_images, fingerprint=fingerprint,
            date=self.date, max_age_days=self.max_age_days,
        )  # fmt: skip
        place = self._place(source, plan.documents + sum(unit.documents for unit in old))
        records = _records(work, place, plan, old, why)
        table = ReuseTable(
            path=folder.path, table_id=folder.table_id, date=self.date,
            previous=None if self.previous is None else self.previous.described(),
            score_fingerprint=fingerprint, why=why,
            parts=parts_of_records(records),
            counts=total([record["counts"] for record in records]),
        )  # fmt: skip
        folder.finish(table)
        logger.info(
            "reuse table: %s of %s documents have a score that holds%s; made in %.1f s",
            f"{table.counts['documents']['reuse']:,}", f"{plan.documents:,}",
            "" if why is None else f" ({why})", time.monotonic() - begun,
        )  # fmt: skip
        return table

    def _plan(self, source: Input, fingerprint: str) -> Plan:
        """Today's input in pieces; the id of the plan is that of the table."""
        given = self.config.input.model_dump(
            mode="json", include={"layout", "columns", "text_columns", "text_separator"}
        )
        previous = None if self.previous is None else self.previous.manifest_sha256
        parts: list[Any] = [VERSION, self.sizes.piece, self.sizes.part, given, previous]
        parts += [fingerprint, self.date.isoformat(), self.max_age_days]
        if self.previous is None:
            parts.append(self.why_not)
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return plan_units(
            source, documents=self.sizes.piece, fingerprint=digest, limit=self.config.limit
        )

    def _old(self, model: ModelIdentity, fingerprint: str) -> tuple[list[OldUnit], str | None]:
        """Units of the published run, or why nothing of it is read."""
        if self.previous is None:
            return [], self.why_not
        why = self.previous.why_not(model, fingerprint)
        return ([], why) if why is not None else self.previous.units()

    def _place(self, source: Input, documents: int) -> Place:
        stored = sum(file.identity.size for file in source.files)
        small = documents <= self.sizes.here and stored <= self.sizes.here_bytes
        if self.config.ray.mode == "in_process" or small:
            return InProcess()
        return _OnRay(task_session(self.config, self.staying))


def _records(
    work: Work, place: Place, plan: Plan, old: list[OldUnit], why: str | None
) -> list[Record]:
    """What is known of each part, those made that are not there."""
    if why is not None:
        return _all_new(work, place, plan)
    if work.parts:
        return _made(work, place)
    counts = total([])
    counts["documents"]["gone"] = sum(unit.documents for unit in old)
    counts["lists"]["gone"] = sum(unit.queries for unit in old)
    return [{"counts": counts}]


def _made(work: Work, place: Place) -> list[Record]:
    """Records of all parts, those that are not there made."""
    count = len(work.parts)
    records = work.folder.records(count)
    todo = [number for number in range(count) if number not in records]
    if todo:
        routes = Routes.of(place.queries(work))
        for record in place.records(work, routes, todo):
            records[record["number"]] = record
    if len(records) != count:
        raise RunFailedError(
            f"{work.folder.path}: {len(records)} of {count} parts of the reuse table are there; "
            "run the same command again to go on, and if that does not help, remove the folder"
        )
    return [records[number] for number in range(count)]


def _all_new(work: Work, place: Place, plan: Plan) -> list[Record]:
    """Counts of an input of which nothing is known; its texts are not read.

    Candidates are counted as they are given, whether or not they can be scored.
    """
    queries = sum(len(hashes) for hashes in place.queries(work))
    counts: dict[str, dict[str, int]] = total([])
    counts["documents"]["new"], counts["lists"]["new"] = plan.documents, queries
    return [{"counts": counts}]


class _OnRay:
    """The tasks of a job's Ray."""

    def __init__(self, session: TaskSession) -> None:
        self._session = session

    def queries(self, work: Work) -> Iterator[Hashes]:
        """Hashes of the queries of each part, in order."""
        from pipeline.refresh.reuse.graph import queries

        yield from self._explained(lambda: queries(work, self._session.ray))

    def records(self, work: Work, routes: Routes, todo: list[int]) -> Iterator[Record]:
        """Parts as they are committed, in any order."""
        from pipeline.refresh.reuse.graph import records

        yield from self._explained(lambda: records(work, routes, todo, self._session.ray))

    def _explained(self, coming: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        yield from self._session.explained(coming)
