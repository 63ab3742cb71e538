"""A session's numbers agree with what it wrote, in the report, in the lease and at every moment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import JobConfig
from pipeline.execution import measuring as measuring_module
from pipeline.execution.ledger import Ledger
from pipeline.execution.live import snapshot as live
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.measuring import Measuring
from pipeline.execution.preparation import prepare
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.execution.units.replica_reports import ReplicaReport
from tests.execution.drivers import lexical_job
from tests.execution.test_crashes import table_with_bad_rows
from tests.fixtures_runs import Rerank
from tests.makers import long_table, write

REPORT = ReplicaReport(replica="r", process="p", host="a", device="cpu", age_s=4, ready_s=2)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    path = write(tmp_path / "in.parquet", long_table(queries=8), row_group_size=20)
    return Ledger(prepare(JobConfig.model_validate(lexical_job(path, str(tmp_path / "out")))))


def counts(unit: str, documents: int = 10) -> UnitCounts:
    return UnitCounts(unit=unit, queries=1, documents=documents, tokens=90, reasons={"empty": 1})


def test_what_is_scored_inside_a_unit_counts_before_the_unit_does(ledger: Ledger) -> None:
    measuring = Measuring(ledger, num_gpus=2)
    assert measuring.snapshot(live.UNITS).waiting_for == live.MODEL
    measuring.replicas.take(REPORT)
    assert measuring.snapshot(live.UNITS).waiting_for == live.FIRST_UNIT
    measuring.replicas.take(
        replace(REPORT, age_s=5, ready_s=3, documents=4, tokens=40, busy_s=1.5, units={"a": 4})
    )
    now = measuring.snapshot(live.UNITS)
    assert (now.documents, now.documents_in_flight, now.documents_scored) == (0, 4, 4)
    assert (now.units_in_flight, now.tokens_scored) == (1, 40)
    assert (now.replica_seconds, now.gpu_hours) == (5, pytest.approx(10 / 3600))
    ledger.add(counts("a"))
    now = measuring.snapshot(live.UNITS)
    assert (now.documents, now.documents_in_flight, now.documents_scored) == (10, 0, 9)
    assert (now.waiting_for, now.units_in_flight, now.quarantined) == (live.UNITS, 0, {"empty": 1})
    assert now.left_s is not None
    assert now.documents_per_s > 0


def test_replicas_without_a_unit_for_a_minute_are_what_is_waited_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(measuring_module.time, "monotonic", lambda: now[0])
    measuring = Measuring(ledger, num_gpus=0)

    def told_after(seconds: float) -> str:
        now[0] += seconds
        return measuring.snapshot(live.UNITS).waiting_for

    assert told_after(600) == live.MODEL
    measuring.replicas.take(replace(REPORT, units={"a": 4}))
    assert told_after(600) == live.FIRST_UNIT
    ledger.add(counts("a"))
    assert told_after(59) == live.UNITS
    assert told_after(1) == live.HELD_BACK
    measuring.replicas.take(replace(REPORT, age_s=5, units={"b": 1}))
    assert told_after(600) == live.UNITS
    assert measuring.snapshot(live.CHECK).waiting_for == live.CHECK


def test_units_of_earlier_sessions_are_done_and_have_no_rate(ledger: Ledger) -> None:
    ledger.add(counts("a"), resumed=True)
    measuring = Measuring(ledger, num_gpus=0)
    for _ in range(2):
        now = measuring.snapshot(live.UNITS)
    assert (now.units_done, now.documents, now.documents_scored) == (1, 10, 0)
    assert (now.documents_per_s, now.left_s, now.waiting_for) == (0, None, live.MODEL)


def test_what_replicas_cost_is_asked_for_with_their_seconds_by_device(ledger: Ledger) -> None:
    measuring = Measuring(ledger, num_gpus=0)
    measuring.replicas.take(REPORT)
    assert measuring.snapshot(live.UNITS).cost is None
    measuring.cost_of = lambda seconds: (seconds["cpu"], 2 * seconds["cpu"])
    assert measuring.snapshot(live.UNITS).cost == (4, 8)


def test_the_report_and_the_lease_end_with_the_same_snapshot(
    rerank_in_process: Rerank, tmp_path: Path
) -> None:
    path = write(tmp_path / "in.parquet", table_with_bad_rows(), row_group_size=20)
    outcome = rerank_in_process(path, units={"documents": 25}, quarantine={"max_error_rate": 1.0})
    report = json.loads(Path(outcome.folder, "report.json").read_text())
    last = Snapshot.from_dict(report["last"])
    manifest = outcome.manifest
    assert (last.waiting_for, last.documents) == (live.DONE, manifest["documents"])
    assert (last.units_done, last.units_in_flight) == (len(manifest["units"]), 0)
    assert last.quarantined == manifest["reasons"]
    assert last.documents_scored == manifest["documents"] - manifest["quarantined"]
    assert last.replicas == {"wanted": 1, "starting": 0, "up": 0}
    assert report["timeline"]["documents"][-1] == manifest["documents"]
    lease = json.loads(Path(outcome.folder, "lease.json").read_text())
    assert lease["progress"] == report["last"]
