"""The state of a run of very many units is told without looking at them."""

from __future__ import annotations

import time

from pipeline.candidates.planning import Plan, Unit
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.wording import rows
from pipeline.execution.runs.lease import take
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import lines, run_state
from tests.support.fault_proxy import FaultProxy

UNITS = 10_000
RUN_ID, FINGERPRINT = "0123456789abcdef", "f" * 16

SNAPSHOT = Snapshot(
    time=round(time.time(), 3), units=UNITS, units_done=7_000, units_in_flight=3,
    documents_planned=10**6, documents=700_000, documents_per_s=512.0,
    quarantined={"empty_text": 9}, device_busy=0.5,
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


def test_ten_thousand_units_on_s3_take_a_handful_of_requests(
    fault_proxy: FaultProxy, s3_folder: str
) -> None:
    units = tuple(
        Unit(name=f"{n:024x}", start=100 * n, stop=100 * n + 100, documents=100)
        for n in range(UNITS)
    )
    folder = RunFolder(f"{s3_folder}/{RUN_ID}")
    plan = Plan(run_id=RUN_ID, fingerprint=FINGERPRINT, units=units)
    folder.start(plan, description(), repair=False, cas=True)
    lease = take(folder.path, ttl_s=3_600, progress=SNAPSHOT.as_dict)
    try:
        lease.fence()
        fault_proxy.clear()
        state = run_state(folder)
        assert len(fault_proxy.requests) <= 6, fault_proxy.requests
    finally:
        lease.release()
    assert (state["units_committed"], state["units_in_flight"]) == (7_000, 3)
    assert (state["documents"], state["reasons"]) == (700_000, {"empty_text": 9})
    assert Snapshot.from_dict(state["live"]) == SNAPSHOT
    shown = dict(lines(state, rows(Snapshot.from_dict(state["live"]))))
    assert shown["units"] == "7000 of 10000 committed, 3 in flight, 0 failed"
    assert shown["speed"] == "512 documents/s, 0 tokens/s"
    assert shown["counted"].startswith("by its driver, ")
    after = run_state(folder)
    assert (after["live"], after["units_committed"]) == (None, 7_000)
