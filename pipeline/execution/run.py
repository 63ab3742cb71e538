"""One run from plan to publication: what is missing is scored, then everything is checked."""

from __future__ import annotations

import logging
from typing import Any

from pipeline import failpoints
from pipeline.candidates.reasons import NO_CANDIDATES
from pipeline.checkpoints import cards
from pipeline.config import JobConfig
from pipeline.errors import InputContractError, RunFailedError
from pipeline.execution.forecasting import refuse_over_limits
from pipeline.execution.live.snapshot import CHECK, PUBLICATION
from pipeline.execution.outcome import Outcome
from pipeline.execution.placement import looks_small
from pipeline.execution.preparation import Prepared
from pipeline.execution.runs import attempts
from pipeline.execution.runs.checked_units import CheckedUnits, manifest_of
from pipeline.execution.runs.lease import NoLease
from pipeline.execution.runs.listing import Problem, error_of, strange_names
from pipeline.execution.runs.publication import publish, refuse_damaged_pointer
from pipeline.execution.runs.unit_checks import check_units
from pipeline.execution.runs.verification import audit
from pipeline.execution.scoring import score
from pipeline.execution.session import Session, driven
from pipeline.execution.units.isolated_workers import prepare_processes
from pipeline.plurals import agreeing, counted

logger = logging.getLogger("pipeline")


def begin_imports(config: JobConfig) -> None:
    """Let a job that will probably need a worker process import what it needs while it is planned.

    Raises:
        ConfigurationError: no such model card.
    """
    if looks_small(config):
        prepare_processes(network=cards.resolve(config.model).weights is not None)


def execute(prepared: Prepared, *, repair: bool = False) -> Outcome:
    """Run a prepared job, or finish an interrupted one, or notice that it is finished and whole.

    Args:
        prepared: the job.
        repair: make anew what is missing or damaged in the run's folder. Without it, only units
            of a run that is not published are scored again; everything else is refused.

    Raises:
        InputContractError: the input is unsorted, damaged, changed while it was read, or has no
            candidates.
        QuarantineError: more candidates were quarantined than ``max_error_rate`` allows.
        DamagedRunError: the run's folder is not as it was written; names the files.
        LeaseHeldError: another driver is at work on the same run.
        FencedError: another driver has taken the run over.
        TerminatedError: SIGTERM came.
        RunFailedError: workers failed; running again resumes.
        ConfigurationError: the store has no conditional writes, or the run would exceed its
            ``limits``.
    """
    before = _problems(prepared, repair)
    if before == []:
        return _finished(prepared)
    refuse_over_limits(prepared)
    if prepared.placement.place == "process":
        prepare_processes(network=bool(prepared.model.digest))  # imports while the lease is taken
    with driven(prepared, repair=repair) as session:
        problems = _problems(prepared, repair)
        if problems == []:  # by the driver that we waited for, or by taking the lease
            return _finished(prepared, repaired=before is not None)
        return _finish(session, repair, problems)


def _problems(prepared: Prepared, repair: bool) -> list[Problem] | None:
    """What is not whole in a published run; None where it is not published.

    Raises:
        DamagedRunError: something is not, and it is not to be repaired.
    """
    if not prepared.folder.finished():
        return None
    problems = audit(prepared.folder, prepared.plan, prepared.config.output.formats)
    if problems and not repair:
        raise error_of(prepared.folder, problems)
    return problems


def _finish(session: Session, repair: bool, problems: list[Problem] | None) -> Outcome:
    """Score what is missing, repair what is damaged, publish.

    Args:
        session: ours.
        repair: make anew whatever is not whole.
        problems: what is not whole in a published run; None where it is not published.
    """
    prepared, ledger = session.prepared, session.ledger
    folder, plan = prepared.folder, prepared.plan
    names = [unit.name for unit in plan.units]
    cas = not isinstance(session.lease, NoLease)
    folder.start(plan, prepared.description(), repair=repair, cas=cas)
    if not repair:
        refuse_damaged_pointer(folder)
    formats = prepared.config.output.formats
    _refuse_strange(prepared, strange_names(folder, {}, names, formats))
    _take_up(session)
    at_odds = {folder.unit_of(folder.key(p.path)) for p in problems or () if p.at_odds}
    todo = [unit for unit in plan.units if unit.name not in ledger.units or unit.name in at_odds]
    score(session, todo)
    ledger.refuse_repeated_queries()
    missing = set(names).difference(folder.committed())
    if missing:
        raise RunFailedError(
            f"{folder.path}: {len(missing)} of {len(plan.units)} units are not committed, e.g. "
            f"{min(missing)}; run the same command again to resume"
        )
    session.monitor.phase(CHECK)
    units, damaged = check_units(folder, plan.run_id, names)
    if damaged:
        [(first, [why, *_]), *_] = damaged.items()
        damage = f"{counted(len(damaged), 'damaged unit')} {agreeing(len(damaged), 'are')}"
        logger.warning("%s scored again, e.g. %s: %s", damage, first, why)
        again = [unit for unit in plan.units if unit.name in damaged]
        score(session, again)
        session.monitor.phase(CHECK)
        units, still = check_units(folder, plan.run_id, names)
        if still:
            raise error_of(folder, [problem for found in still.values() for problem in found])
        todo += again
    _refuse_strange(prepared, strange_names(folder, units.sizes(), formats=formats))
    failpoints.reached("units.verified")
    session.termination.check()
    manifest = _manifest(prepared, units)
    _refuse_lost_rows(prepared, manifest)
    _refuse_empty(prepared, manifest)
    ledger.refuse_too_many_errors(f"{folder.path}/quarantine")
    session.monitor.phase(PUBLICATION)
    publish(folder, manifest, session.lease, repair=repair)
    attempts.forget(folder.path)
    ledger.warn_if_units_are_long()
    return Outcome(
        folder=folder.path,
        manifest=manifest,
        units_run=len(todo),
        seconds=ledger.progress.elapsed_s if todo else 0.0,
        already_finished=False,
        repaired=problems is not None,
    )


def _take_up(session: Session) -> None:
    """Count the units that earlier sessions committed."""
    folder, plan = session.prepared.folder, session.prepared.plan
    committed = set(folder.committed())
    names = [unit.name for unit in plan.units if unit.name in committed]
    del committed  # nobody needs it while a million footers are read
    for counts in folder.counts(names, plan.run_id):
        if counts is not None:
            session.ledger.add(counts, resumed=True)


def _manifest(prepared: Prepared, units: CheckedUnits) -> dict[str, Any]:
    return manifest_of(
        run_id=prepared.plan.run_id,
        fingerprint=prepared.plan.fingerprint,
        model=prepared.model.name,
        score_scale=prepared.model.score_scale,
        units=units,
    )


def _refuse_strange(prepared: Prepared, found: list[Problem]) -> None:
    if found:
        raise error_of(prepared.folder, found)


def _finished(prepared: Prepared, *, repaired: bool = False) -> Outcome:
    return Outcome(
        folder=prepared.folder.path,
        manifest=prepared.folder.manifest(),
        units_run=0,
        seconds=0.0,
        already_finished=not repaired,
        repaired=repaired,
    )


def _refuse_lost_rows(prepared: Prepared, manifest: dict[str, Any]) -> None:
    """A row of the input is a candidate in the long layout, and a query in the nested one."""
    counted = "documents" if prepared.source.columns.layout == "long" else "queries"
    planned, found = sum(unit.stop - unit.start for unit in prepared.plan.units), manifest[counted]
    if prepared.staged is not None:  # whose rows of queries without candidates become none
        found += manifest["reasons"].get(NO_CANDIDATES, 0)
    if found != planned:
        raise RunFailedError(
            f"{prepared.folder.path}: {found} {counted} were ranked, but the plan has {planned}; "
            "this is a defect of the pipeline: keep the folder and report it"
        )


def _refuse_empty(prepared: Prepared, manifest: dict[str, Any]) -> None:
    config = prepared.config.input
    if manifest["documents"] == 0 and not config.allow_empty:
        raise InputContractError(
            f"{', '.join(config.path)}: none of {manifest['queries']} queries has a candidate, so "
            "there is nothing to publish; see to the step that wrote the lists, or set "
            "input.allow_empty to publish a run without candidates"
        )
