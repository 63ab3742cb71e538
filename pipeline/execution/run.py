"""One run from plan to publication: what is missing is scored, then everything is audited."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pipeline.candidates.reading import split_query_error
from pipeline.errors import QuarantineError, RerankError, RunFailedError
from pipeline.execution.preparation import Prepared
from pipeline.execution.progress import Progress, reporter
from pipeline.execution.run_folder import RunFolder, UnitCounts, total_reasons
from pipeline.execution.seen import SeenQueries
from pipeline.execution.stages import COUNTS, SAME, Job, raise_if_error
from pipeline.schema import QUERY_ID
from pipeline.storage.parquet import read_table

if TYPE_CHECKING:
    import ray.data

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
        RunFailedError: a worker failed; running again resumes.
    """
    folder, plan = prepared.folder, prepared.plan
    if folder.finished():
        return Outcome(
            folder=folder.path,
            manifest=folder.manifest(),
            units_run=0,
            seconds=0.0,
            already_finished=True,
        )
    folder.start(plan, prepared.description())
    ledger = _Ledger(prepared)
    committed = set(folder.committed())
    done = [unit.name for unit in plan.units if unit.name in committed]
    for counts in folder.counts(done):
        ledger.add(counts, resumed=True)
    todo = tuple(unit for unit in plan.units if unit.name not in committed)
    ledger.progress.units_done = len(done)
    if todo:
        _score(prepared, todo, ledger)
    return _publish(prepared, ledger, units_run=len(todo))


class _Ledger:
    """Counts of every committed unit, and the checks that run over all of them."""

    def __init__(self, prepared: Prepared) -> None:
        self.folder: RunFolder = prepared.folder
        self.units: dict[str, UnitCounts] = {}
        self.seen = SeenQueries()
        self.progress = Progress(
            units=len(prepared.plan.units), documents_planned=prepared.plan.documents
        )

    def add(self, counts: UnitCounts, *, resumed: bool = False) -> None:
        if counts.unit in self.units:
            return  # a retried task reports again; its file is the same
        self.units[counts.unit] = counts
        self.progress.add(counts, resumed=resumed)
        place = self.seen.add(counts.query_hashes)
        if place is not None:
            path = self.folder.ranked(counts.unit)
            ids = read_table(path, columns=[QUERY_ID]).column(0).drop_null().to_pylist()
            raise split_query_error(list(dict.fromkeys(ids))[place], "over several units")


def _score(prepared: Prepared, todo: tuple[Any, ...], ledger: _Ledger) -> None:
    from pipeline.execution.graph import status_rows
    from pipeline.execution.ray_session import explain, ray_session

    job = Job(
        config=prepared.config,
        source=prepared.source,
        units=todo,
        folder=prepared.folder.path,
        run_id=prepared.plan.run_id,
        fingerprint=prepared.plan.fingerprint,
        model=prepared.model,
    )
    progress = ledger.progress
    interval_s = prepared.config.progress.interval_s
    with ray_session(prepared.config), reporter(progress, interval_s) as report:
        try:
            for row in _as_they_come(status_rows(job)):
                raise_if_error(row)
                ledger.add(UnitCounts.from_metadata(row[COUNTS]))
                _warn_if_different(row)
                report.update(progress)
        except RerankError:
            raise
        except Exception as error:  # whatever Ray wraps a worker's failure in
            logger.debug("the run failed", exc_info=True)
            raise explain(error) from None


def _as_they_come(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """Rows as soon as their unit is committed; ``iter_rows`` would hold back hundreds of them."""
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
        yield from cast(pa.Table, batch).to_pylist()


def _warn_if_different(row: dict[str, Any]) -> None:
    if not row[SAME]:
        logger.warning(
            "unit %s was committed before with other bytes; the first file stands. The model is "
            "not deterministic on this hardware",
            UnitCounts.from_metadata(row[COUNTS]).unit,
        )


def _publish(prepared: Prepared, ledger: _Ledger, *, units_run: int) -> Outcome:
    """Audit: the listing equals the plan, every row is accounted for, and few were rejected."""
    folder, plan = prepared.folder, prepared.plan
    missing = {unit.name for unit in plan.units} - set(folder.committed())
    if missing:
        raise RunFailedError(
            f"{folder.path}: {len(missing)} of {len(plan.units)} units are not committed, e.g. "
            f"{min(missing)}; run the same command again to resume"
        )
    counts = [ledger.units[unit.name] for unit in plan.units]
    documents = sum(c.documents for c in counts)
    quarantined = sum(c.quarantined for c in counts)
    if documents != plan.documents and prepared.source.columns.layout == "long":
        raise RunFailedError(
            f"{folder.path}: {documents} candidates were ranked, but the plan has "
            f"{plan.documents}; this is a defect of the pipeline: keep the folder and report it"
        )
    _refuse_too_many(prepared, documents, quarantined, counts)
    manifest = {
        "run_id": plan.run_id,
        "fingerprint": plan.fingerprint,
        "model": prepared.model.name,
        "score_scale": prepared.model.score_scale,
        "units": [c.summary() for c in counts],
        "queries": sum(c.queries for c in counts),
        "documents": documents,
        "tokens": sum(c.tokens for c in counts),
        "quarantined": quarantined,
        "reasons": total_reasons(counts),
    }
    folder.publish(manifest)
    seconds = ledger.progress.elapsed_s if units_run else 0.0
    return Outcome(
        folder=folder.path,
        manifest=manifest,
        units_run=units_run,
        seconds=seconds,
        already_finished=False,
    )


def _refuse_too_many(
    prepared: Prepared, documents: int, quarantined: int, counts: list[UnitCounts]
) -> None:
    allowed = prepared.config.quarantine.max_error_rate
    if documents and quarantined / documents > allowed:
        named = ", ".join(f"{code} {n}" for code, n in total_reasons(counts).items())
        raise QuarantineError(
            f"{prepared.folder.path}/quarantine: {quarantined} of {documents} candidates "
            f"({quarantined / documents:.1%}) could not be scored ({named}), more than "
            f"quarantine.max_error_rate = {allowed:g}; the run is not published. Repair the input, "
            "or raise the limit and run again: finished units are kept"
        )
