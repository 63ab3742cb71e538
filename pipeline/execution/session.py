"""A driver's session: the lease taken before anything is written, a report when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline import errors, failpoints
from pipeline.errors import ConfigurationError, RerankError
from pipeline.execution import startup
from pipeline.execution.failing_starts import FailingStarts
from pipeline.execution.ledger import Ledger
from pipeline.execution.live.display import displayed
from pipeline.execution.live.metrics import Metric
from pipeline.execution.live.metrics_file import kept_in_file
from pipeline.execution.live.monitor import Monitor
from pipeline.execution.live.snapshot import DONE, FINISHED_UNITS, STOPPED
from pipeline.execution.live.timeline import Timeline
from pipeline.execution.measuring import Measuring
from pipeline.execution.preparation import Prepared
from pipeline.execution.report.page_file import looked_at, write_page
from pipeline.execution.report.sessions import earlier
from pipeline.execution.runs import records
from pipeline.execution.runs.lease import Lease, NoLease, take
from pipeline.execution.runs.run_folder import REPORT, RunFolder
from pipeline.execution.spending import DEVICE_HOURS, SPENT, Budget, Spending, hours_before
from pipeline.execution.termination import Termination
from pipeline.plain_text import redacted
from pipeline.pricing import load_prices
from pipeline.reports.page.advice import FAILED, PUBLISHED
from pipeline.storage.probe import probe
from pipeline.storage.store import write_whole

logger = logging.getLogger("pipeline")

#: Of an error's message, which may hold what a worker wrote last.
_MOST_CHARACTERS: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class Session:
    """One driver at work on a run.

    Attributes:
        prepared: the job.
        lease: the right to drive it.
        termination: whether the driver was asked to stop.
        ledger: what it knows of the units.
        measuring: what its replicas report, and how snapshots are made.
        monitor: hands snapshots to whoever shows or sends them.
        timeline: the snapshots so far, for the report.
        spending: what its replicas take, and cost.
        counted: what counters of Ray stand at, where it shows this session's metrics.
    """

    prepared: Prepared
    lease: Lease | NoLease
    termination: Termination
    ledger: Ledger
    measuring: Measuring
    monitor: Monitor
    timeline: Timeline
    spending: Spending
    counted: dict[tuple[Metric, str], float] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """Of its metrics, see :mod:`pipeline.execution.live.metrics`."""
        run, model = self.prepared.plan.run_id, self.prepared.model.name
        return {"run_id": run, "model": model, "epoch": str(self.lease.epoch)}


@contextmanager
def driven(prepared: Prepared, *, repair: bool = False) -> Iterator[Session]:
    """Take the lease; give it back, with a report of what was done, however the body ends.

    Args:
        prepared: the job.
        repair: replace a lease that is damaged, once nobody is seen to renew it.
    """
    ledger = Ledger(prepared)
    ledger.startup.reached(startup.PLANNED)
    config = prepared.config
    measuring = Measuring(ledger, num_gpus=config.replicas.gpus)
    spending = Spending(prepared.placement.replicas, load_prices(), hours_before(prepared.folder))
    measuring.cost_of, measuring.hours_of = spending.cost_of, spending.hours_of
    measuring.currency = spending.prices.currency
    monitor, timeline = Monitor(measuring.snapshot), Timeline()
    monitor.add(timeline)
    # Before the lease is there: a signal in between would leave it until it runs out.
    termination = Termination(
        grace_s=config.lease.grace_s, on_request=_nothing, on_exit=_nothing, at_once=True
    )
    with (
        displayed(monitor, config.progress.interval_s) as end_display,
        monitor.running(),
        termination.watched(),
    ):
        lease = _lease(prepared, monitor, spending, repair)
        try:

            def on_exit() -> None:
                end_display()
                lease.release()

            termination.on_request, termination.on_exit = lease.drain, on_exit
            termination.at_once = False
            termination.check()  # what was heard while a library let no exception through
            measuring.renewals = lambda: lease.renewals
            ledger.startup.reached(startup.LEASED)
            monitor.phase(FINISHED_UNITS)
            monitor.add(Budget(config.limits, spending, termination).watch)
            monitor.add(FailingStarts(measuring.replicas, termination).watch)
            session = Session(
                prepared=prepared,
                lease=lease,
                termination=termination,
                ledger=ledger,
                measuring=measuring,
                monitor=monitor,
                timeline=timeline,
                spending=spending,
            )
            yield from _leased(session)
        finally:
            lease.release()


def _nothing() -> None:
    """Nothing is held yet."""


def _leased(session: Session) -> Iterator[Session]:
    """The session, until the body ends; then its report."""
    started = time.time()
    failure: BaseException | None = None
    metrics = session.prepared.config.metrics.file
    with session.termination.watched(), kept_in_file(session.monitor, metrics, session.labels):
        try:
            yield session
        except BaseException as error:
            failure = error
            raise
        finally:
            session.monitor.end(DONE if failure is None else STOPPED)
            _report(session, started=started, failure=failure)


def _lease(
    prepared: Prepared, monitor: Monitor, spending: Spending, repair: bool
) -> Lease | NoLease:
    """The run's lease, on a store that can keep one.

    What the driver before us has spent is counted as it was when it lost the lease.

    Raises:
        ConfigurationError: the store cannot, and ``lease.unsafe_store`` does not allow that.
        LeaseHeldError: another driver is at work.
        DamagedRunError: the lease is damaged.
    """
    config, folder = prepared.config.lease, prepared.folder
    abilities = probe(folder.path.rpartition("/")[0])
    if abilities.create and abilities.replace:

        def inherit(told: dict[str, Any]) -> None:
            spending.inherit(told)
            monitor.look()  # the lease carries it from its first moment on

        return take(
            folder.path,
            ttl_s=config.ttl_s,
            progress=monitor.shown,
            inherit=inherit,
            repair=repair,
        )
    if config.unsafe_store == "refuse":
        raise ConfigurationError(
            f"{folder.path}: this store does not do what a run relies on ({abilities.detail}), so "
            "two drivers on one run could not be kept apart. Use another store, or set "
            "lease.unsafe_store to single_driver and make sure that there is only one"
        )
    logger.warning(
        "SINGLE-DRIVER MODE: %s has no conditional writes (%s). No lease is held: nothing notices "
        "a second driver of this run, which would spoil it",
        folder.path,
        abilities.detail,
    )
    return NoLease()


def _report(session: Session, *, started: float, failure: BaseException | None) -> None:
    """Write ``report.json`` and its page; a session that may write no more, or cannot, does not."""
    if session.lease.lost:
        return
    prepared = session.prepared
    staged, reuse = prepared.staged, prepared.reuse
    folder, units = prepared.folder, session.ledger.units.values()
    described = prepared.description()
    report = {
        "run_id": prepared.plan.run_id,
        "state": PUBLISHED if failure is None else type(failure).__name__,
        "error": None if failure is None else _described(failure),
        "epoch": session.lease.epoch,
        "single_driver": isinstance(session.lease, NoLease),
        "started": started,
        "ended": time.time(),
        "staging": None if staged is None else staged.report(),
        "reuse": None if reuse is None else {"why": reuse.why, "counts": reuse.counts},
        "sessions": _sessions_before(folder),
        "timeline": session.timeline.report(),
        "last": session.monitor.latest.as_dict(),
    } | session.ledger.report()
    hours = dict(session.monitor.latest.device_hours)
    report |= {DEVICE_HOURS: hours, SPENT: session.spending.described(hours)}
    if not _written(folder, report):
        return
    failpoints.reached("report.written")
    # What follows reads units, and after SIGTERM there may be no time for that.
    found = looked_at(folder, described, units)
    report |= found
    if found and not (_still_ours(session) and _written(folder, report)):
        return
    if prepared.config.report.page:
        write_page(
            folder,
            described,
            units,
            report,
            state=PUBLISHED if failure is None else FAILED,
            planned=(len(prepared.plan.units), prepared.plan.documents),
            fence=session.lease.fence,
        )


def _written(folder: RunFolder, report: dict[str, Any]) -> bool:
    try:
        write_whole(folder.file(REPORT), records.to_bytes(records.Report, report))
    except RerankError as error:
        logger.warning("no report was written: %s", error)
        return False
    return True


def _still_ours(session: Session) -> bool:
    try:
        session.lease.fence()
    except RerankError as error:
        logger.warning("the report says nothing of scores and ranks: %s", error)
        return False
    return True


def _described(failure: BaseException) -> dict[str, Any]:
    """What ended a session, for its report: the message, and the nearest class that is known."""
    kinds = type(failure).__mro__
    kind = next((kind for kind in kinds if kind.__module__ == errors.__name__), kinds[0])
    said = str(failure) or kinds[0].__name__
    return {"kind": kind.__name__, "message": redacted(said)[:_MOST_CHARACTERS]}


def _sessions_before(folder: RunFolder) -> list[dict[str, Any]]:
    try:
        return earlier(folder.report())
    except RerankError as error:
        logger.warning("earlier sessions are not in the report: %s", error)
        return []
