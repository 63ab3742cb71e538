"""The state of a run of very many units is told without looking at them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pipeline.candidates.planning import Plan, Unit
from pipeline.commands import app
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.runs.checked_units import CheckedUnit, CheckedUnits, manifest_of
from pipeline.execution.runs.holder import NAME, Holder
from pipeline.execution.runs.lease import Lease, take
from pipeline.execution.runs.publication import publish
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import run_state
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.storage.store import create_if_absent, join
from tests.support.fault_proxy import FaultProxy

UNITS = 10_000
RUN_ID, FINGERPRINT = "0123456789abcdef", "f" * 16

PLAN = Plan(
    run_id=RUN_ID,
    fingerprint=FINGERPRINT,
    units=tuple(
        Unit(name=f"{n:024x}", start=100 * n, stop=100 * n + 100, documents=100)
        for n in range(UNITS)
    ),
)

SNAPSHOT = Snapshot(
    time=round(time.time(), 3), units=UNITS, units_done=7_000, units_in_flight=3,
    documents_planned=10**6, documents=700_000, documents_per_s=512.0,
    quarantined={"empty_text": 9, "no_candidates": 2}, device_busy=0.5,
    replicas={"wanted": 8, "up": 8}, waiting_for="units", left_s=600.0,
)  # fmt: skip


def description() -> dict[str, object]:
    model = {
        "name": "m", "revision": "r", "digest": "d", "licence": None, "score_scale": "logit",
    }  # fmt: skip
    return {
        "run_id": RUN_ID, "fingerprint": FINGERPRINT, "model": model, "config": {"output": {}},
        "input": [], "versions": {},
    }  # fmt: skip


def driven(output: str, snapshot: dict[str, Any], *, units: int = UNITS) -> tuple[RunFolder, Lease]:
    """The run below an output folder, and the lease of a driver that has counted so much."""
    folder = RunFolder(f"{output}/{RUN_ID}")
    folder.start(replace(PLAN, units=PLAN.units[:units]), description(), repair=False, cas=True)
    lease = take(folder.path, ttl_s=3_600, progress=lambda: snapshot)
    lease.fence()
    return folder, lease


def manifest(reasons: dict[str, int]) -> dict[str, Any]:
    """Of units of which each has these rows in its quarantine; their files are not there."""
    units = CheckedUnits(
        CheckedUnit(
            counts=UnitCounts(
                unit=unit.name, queries=2, documents=99, tokens=500, reasons=reasons
            ),
            files=[
                {"key": f"ranked/unit-{unit.name}.parquet", "size": 9, "rows": 99,
                 "sha256": "0" * 64}
            ],
        )
        for unit in PLAN.units
    )  # fmt: skip
    return manifest_of(
        run_id=RUN_ID, fingerprint=FINGERPRINT, model="m", score_scale="logit", units=units
    )


def asked(proxy: FaultProxy, *words: str, most: int) -> str:
    """What ``rerank status`` prints, with so many requests at most."""
    proxy.clear()
    done = CliRunner().invoke(app, ["status", *words])
    assert done.exit_code == 0, done.output
    assert len(proxy.requests) <= most, proxy.requests
    return done.stdout


def test_of_a_run_that_is_driven_its_driver_has_counted(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    _, lease = driven(s3_folder, SNAPSHOT.as_dict())
    try:
        state = json.loads(asked(fault_proxy, s3_folder, "--json", most=6))
        text = asked(fault_proxy, s3_folder, most=6)
    finally:
        lease.release()
    assert (state["units_committed"], state["units_in_flight"]) == (7_000, 3)
    assert (state["documents"], state["reasons"]) == (700_000, SNAPSHOT.quarantined)
    assert state["quarantined"] == 9, "a query without candidates is none of them"
    assert (state["counted_by"], state["counted_at"]) == ("driver", SNAPSHOT.time)
    assert Snapshot.from_dict(state["live"]) == SNAPSHOT
    shown = {line[:13].strip(): line[13:] for line in text.splitlines()}
    assert shown["units"] == "7000 of 10000 committed, 3 in flight, 0 failed"
    assert shown["speed"] == "512 documents/s, 0 tokens/s"
    assert shown["counted"].startswith("by its driver, ")
    after = json.loads(asked(fault_proxy, s3_folder, "--json", most=6))
    assert (after["live"], after["units_committed"]) == (None, 7_000)


def test_of_some_hundred_units_no_footer_is_read_either(tmp_path: Path) -> None:
    folder, lease = driven(str(tmp_path), SNAPSHOT.as_dict(), units=101)
    lease.release()
    create_if_absent(folder.ranked(PLAN.units[0].name), b"nobody looks into it")
    create_if_absent(join(folder.path, "ranked", "notes.txt"), b"mine")
    done = CliRunner().invoke(app, ["status", str(tmp_path), "--json"])
    state = json.loads(done.stdout)
    assert (state["counted_by"], state["units_committed"]) == ("driver", 7_000)
    assert [problem["kind"] for problem in state["problems"]] == ["strange"]
    assert done.exit_code == 4


def test_of_a_run_that_nobody_has_counted_the_names_of_files_are(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    """A driver that takes up a run has counted nothing yet."""
    folder, lease = driven(s3_folder, {})
    try:
        for unit in PLAN.units[:3]:
            create_if_absent(folder.ranked(unit.name), b"nobody looks into it")
        state = json.loads(asked(fault_proxy, s3_folder, "--json", most=7))
        text = asked(fault_proxy, s3_folder, most=7)
    finally:
        lease.release()
    assert (state["units_committed"], state["documents"]) == (3, 300)
    assert (state["counted_by"], state["quarantined"], state["queries"]) == ("names", None, None)
    assert "counted      by names alone; --check looks at the units' files\n" in text
    assert "quarantined" not in text


def test_of_a_run_that_is_published_the_manifest_is_believed(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    folder, lease = driven(s3_folder, SNAPSHOT.as_dict())
    publish(folder, manifest({"empty_text": 1}), lease)
    lease.release()
    state = json.loads(asked(fault_proxy, s3_folder, "--json", most=8))
    assert (state["finished"], state["units_committed"], state["live"]) == (True, UNITS, None)
    assert (state["documents"], state["queries"]) == (99 * UNITS, 2 * UNITS)
    assert (state["quarantined"], state["reasons"]) == (UNITS, {"empty_text": UNITS})
    assert (state["counted_by"], state["problems"]) == ("manifest", [])
    text = asked(fault_proxy, folder.path, most=7)
    assert "counted      by its manifest; --check looks at the units' files\n" in text


def test_beside_the_folders_of_such_a_run_what_is_strange_is_seen(tmp_path: Path) -> None:
    folder, lease = driven(str(tmp_path), {})
    publish(folder, manifest({}), lease)
    lease.release()
    create_if_absent(join(folder.path, "notes.txt"), b"mine")
    done = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert done.exit_code == 4
    assert f"strange      {folder.path}/notes.txt: a file that this run did not make" in done.stdout


def test_a_driver_that_is_silent_for_longer_than_its_time_to_live_may_be_gone(
    tmp_path: Path,
) -> None:
    folder = RunFolder(str(tmp_path / RUN_ID))
    unit = Unit(name="0" * 24, start=0, stop=9, documents=9)
    folder.start(Plan(run_id=RUN_ID, fingerprint=FINGERPRINT, units=(unit,)), description())
    for age_s, said in (
        (5, "held by h, process 7 (epoch 1)"),
        (90, "not heard of for more than 30 s:"),
    ):
        holder = Holder(run_id=RUN_ID, epoch=1, owner="o", host="h", pid=7, ttl_s=30.0,
                        time=time.time() - age_s)  # fmt: skip
        Path(folder.file(NAME)).write_bytes(holder.to_bytes())
        state = run_state(folder)["state"]
        assert said in state
        assert ("may be gone" in state) == (age_s > 30)
