"""One run from plan to publication: what is missing is scored, then everything is checked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from pipeline import failpoints
from pipeline.errors import RunFailedError
from pipeline.execution import attempts
from pipeline.execution.preparation import Prepared
from pipeline.execution.publication import check_units, manifest_of, publish
from pipeline.execution.scoring import score
from pipeline.execution.session import Session, driven

logger = logging.getLogger("pipeline")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run did.

    Attributes:
        folder: the run's path.
        manifest: content of ``manifest.json``.
        units_run: units scored by this session.
        seconds: from the first unit asked for to the last committed; 0 when nothing was to do.
        already_finished: the run was published before.
    """

    folder: str
    manifest: dict[str, Any]
    units_run: int
    seconds: float
    already_finished: bool


def execute(prepared: Prepared) -> Outcome:
    """Run a prepared job, or finish an interrupted one, or notice that it is finished.

    Raises:
        InputContractError: the input is unsorted, damaged, or changed while it was read.
        QuarantineError: more candidates were quarantined than ``max_error_rate`` allows.
        LeaseHeldError: another driver is at work on the same run.
        FencedError: another driver has taken the run over.
        TerminatedError: SIGTERM came.
        RunFailedError: workers failed; running again resumes.
        ConfigurationError: the store has no conditional writes.
    """
    if prepared.folder.finished():
        return _finished(prepared)
    with driven(prepared) as session:
        if prepared.folder.finished():
            return _finished(prepared)  # by the driver that we waited for
        return _finish(session)


def _finish(session: Session) -> Outcome:
    """Score what is missing, repair what is damaged, publish."""
    prepared, ledger = session.prepared, session.ledger
    folder, plan = prepared.folder, prepared.plan
    folder.start(plan, prepared.description())
    committed = set(folder.committed())
    for counts in folder.counts([unit.name for unit in plan.units if unit.name in committed]):
        if counts is not None:
            ledger.add(counts, resumed=True)
    todo = [unit for unit in plan.units if unit.name not in ledger.units]
    score(session, todo)
    missing = {unit.name for unit in plan.units} - set(folder.committed())
    if missing:
        raise RunFailedError(
            f"{folder.path}: {len(missing)} of {len(plan.units)} units are not committed, e.g. "
            f"{min(missing)}; run the same command again to resume"
        )
    units, damaged = check_units(prepared)
    if damaged:
        logger.warning("%d damaged units are scored again, e.g. %s", len(damaged), damaged[0])
        again = [unit for unit in plan.units if unit.name in damaged]
        score(session, again)
        units, still = check_units(prepared)
        if still:
            raise RunFailedError(
                f"{folder.ranked(still[0])}: damaged, and still so after the unit was scored "
                "again; the run is not published. See to the store, or delete the file"
            )
        todo += again
    failpoints.reached("units.verified")
    session.termination.check()
    manifest = manifest_of(prepared, units)
    _refuse_lost_documents(prepared, manifest)
    ledger.refuse_too_many_errors(f"{folder.path}/quarantine")
    publish(folder, manifest, session.lease)
    attempts.forget(folder.path)
    ledger.warn_if_units_are_long()
    return Outcome(
        folder=folder.path,
        manifest=manifest,
        units_run=len(todo),
        seconds=ledger.progress.elapsed_s if todo else 0.0,
        already_finished=False,
    )


def _finished(prepared: Prepared) -> Outcome:
    return Outcome(
        folder=prepared.folder.path,
        manifest=prepared.folder.manifest(),
        units_run=0,
        seconds=0.0,
        already_finished=True,
    )


def _refuse_lost_documents(prepared: Prepared, manifest: dict[str, Any]) -> None:
    planned, found = prepared.plan.documents, manifest["documents"]
    if found != planned and prepared.source.columns.layout == "long":
        raise RunFailedError(
            f"{prepared.folder.path}: {found} candidates were ranked, but the plan has {planned}; "
            "this is a defect of the pipeline: keep the folder and report it"
        )
