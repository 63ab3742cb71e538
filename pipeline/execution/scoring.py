"""The driver's loop: takes status rows of units as they arrive, checks and counts them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

from pipeline.candidates.planning import Unit
from pipeline.config import JobConfig
from pipeline.execution import startup
from pipeline.execution.isolation import isolate
from pipeline.execution.live.snapshot import LAST_UNITS, SUSPECTS, UNITS, WORKERS
from pipeline.execution.placement import Place
from pipeline.execution.runs import attempts
from pipeline.execution.runs.unit_checks import contents
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.execution.session import Session
from pipeline.execution.units import rows
from pipeline.execution.units.rows import SuspectUnit
from pipeline.execution.units.stages import Job
from pipeline.execution.units.unit_tasks import COMMIT, SCORE
from pipeline.execution.workers import Workers, open_workers

logger = logging.getLogger("pipeline")


def score(session: Session, todo: Sequence[Unit]) -> None:
    """Score and commit units; each gets its file, even if some of its queries kill their worker.

    What is there of them already is replaced where it comes out differently, so that all files of
    a unit are of one scoring.

    Raises:
        RerankError: any reason for which a run stops, see :func:`pipeline.execution.run.execute`.
    """
    if not todo:
        return
    prepared, ledger = session.prepared, session.ledger
    placement = prepared.placed(todo)
    placement.refuse_missing()
    if str(placement) != str(prepared.placement):  # which was said when the run was planned
        logger.info("replicas: %s", placement)
    ledger.placement = placement
    session.spending.replicas = placement.replicas
    config = prepared.config.model_copy(update={"replicas": placement.replicas})
    job = _job(session, config, todo)
    replicas = session.measuring.replicas
    on_ray = placement.place == "cluster"
    replicas.wanted = min(config.replicas.most, len(todo)) if on_ray else 1
    session.monitor.phase(WORKERS)
    with (
        open_workers(placement.place, config, session.termination, replicas.take) as workers,
        _metrics(session, placement.place),
    ):
        ledger.startup.reached(startup.WORKERS)
        session.monitor.phase(UNITS)
        _stream(session, workers.rows(job))
        _isolate_suspects(session, workers, job)


def _metrics(session: Session, place: Place) -> AbstractContextManager[None]:
    """Metrics by way of Ray, while there is one."""
    if place != "cluster":
        return nullcontext()
    from pipeline.execution.live.ray_metrics import shown_by_ray

    return shown_by_ray(session.monitor, session.labels, session.counted)


def _stream(session: Session, coming: Iterator[dict[str, Any]]) -> None:
    """Take rows until there are no more, or after SIGTERM until the units in progress are done."""
    waiting: set[str] | None = None
    with closing(coming):  # type: ignore[type-var]
        for row in coming:
            unit = _count_row(session, row)
            if session.termination.requested:
                if waiting is None:
                    session.monitor.phase(LAST_UNITS)
                    waiting = _being_scored(session.prepared.folder.path)
                waiting.discard(unit)
                if not waiting:
                    break
    session.termination.check()


def _count_row(session: Session, row: dict[str, Any]) -> str:
    """Count one row; returns the name of its unit."""
    if session.lease.lost:
        session.lease.fence()  # raises, with the reason
    stats = json.loads(row.get(rows.STATS) or "{}")
    if row.get(rows.COUNTS) is None:
        session.ledger.note_store_events(stats)
    rows.raise_if_failed(row)
    if row.get(rows.SKIPPED) is not None:
        if not session.termination.requested:
            session.lease.fence()  # a worker saw another driver's lease
        return str(row[rows.SKIPPED])
    if row.get(rows.SUSPECT) is not None:
        suspect = SuspectUnit(**json.loads(row[rows.SUSPECT]))
        session.ledger.set_aside(suspect)
        return suspect.unit
    counts = UnitCounts.from_metadata(row[rows.COUNTS])
    session.ledger.startup.reached(startup.COMMITTED)
    session.ledger.note(counts.unit, stats)
    session.ledger.add(counts)
    return counts.unit


def _isolate_suspects(session: Session, workers: Workers, job: Job) -> None:
    """Finish the units that were set aside, one after the other, each in a process of its own."""
    limits, ledger = session.prepared.config.quarantine, session.ledger
    suspects = [n for n, unit in enumerate(job.units) if unit.name in ledger.suspects]
    if not suspects:
        return
    session.monitor.phase(SUSPECTS)
    with closing(workers.isolated(job)) as worker:
        for number in suspects:
            session.termination.check()
            done = isolate(
                worker,
                number,
                limit_s=job.config.units.time_limit_s,
                most_culprits=max(limits.max_unit_error_rate, limits.max_error_rate),
                note=ledger.note_store_events,
            )
            [row] = done.to_pylist()
            _count_row(session, row)


def _being_scored(folder: str) -> set[str]:
    return {m.unit for m in attempts.at_work(folder) if m.stage in (SCORE, COMMIT)}


def _job(session: Session, config: JobConfig, todo: Sequence[Unit]) -> Job:
    prepared = session.prepared
    return Job(
        config=config,
        source=prepared.source,
        units=tuple(todo),
        folder=prepared.folder.path,
        run_id=prepared.plan.run_id,
        fingerprint=prepared.plan.fingerprint,
        model=prepared.model,
        epoch=session.lease.epoch,
        reuse=prepared.reuse,
        calibration=None if prepared.calibration is None else prepared.calibration.calibration,
        superseded=contents(
            prepared.folder, {unit.name for unit in todo}, prepared.config.output.formats
        ),
        allow_code=prepared.allow_code,
    )
