"""A snapshot travels as JSON, also to a reader of another version."""

from __future__ import annotations

import json

from pipeline.execution.live.snapshot import Snapshot

FULL = Snapshot(
    time=1e9, elapsed_s=1.5, waiting_for="units", units=4, quarantined={"empty_text": 2},
    replicas={"wanted": 1}, device_busy=0.5, cost=(0.25, 0.5), nodes=2, left_s=3.0,
)  # fmt: skip


def test_it_survives_json() -> None:
    assert Snapshot.from_dict(json.loads(json.dumps(FULL.as_dict()))) == FULL


def test_what_is_not_known_has_its_default() -> None:
    older = {"units": 3, "units_done": 1, "failed": 2}  # as leases held it before
    assert Snapshot.from_dict(older) == Snapshot(units=3, units_done=1)


def test_starved_is_what_busy_is_not() -> None:
    assert FULL.device_starved == 0.5
    assert Snapshot().device_starved is None
