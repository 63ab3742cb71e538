"""Snapshots in words: everything that is known is said, and what is not known is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.execution.live import snapshot as live
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.wording import duration, line, rows

HALF = Snapshot(
    elapsed_s=83, waiting_for=live.UNITS, units=40, units_done=12, units_in_flight=2,
    documents_planned=16_000, documents=4_800, documents_in_flight=210, documents_scored=5_010,
    tokens_scored=700_000, documents_per_s=213.2, tokens_per_s=31_204.0,
    quarantined={"empty_text": 2, "worker_crashed": 1}, retries={"worker_died": 1, "x": 0},
    device_busy=0.9, replicas={"wanted": 3, "up": 2, "starting": 1}, nodes=2, gpu_hours=0.5,
    cost=(1.0, 2.5), currency="USD", left_s=131.0,
)  # fmt: skip


def test_rows_say_everything() -> None:
    assert dict(rows(HALF)) == {
        "units": "12 of 40 committed, 2 in flight",
        "documents": "4,800 of about 16,000, 210 more scored",
        "speed": "213 documents/s, 31,204 tokens/s",
        "device": "busy 90%, starved 10%",
        "replicas": "2 of 3 up, 1 starting, on 2 nodes",
        "quarantined": "3: empty_text 2, worker_crashed 1",
        "retries": "worker_died 1",
        "cost": "0.50 GPU-hours, 1.00 to 2.50 USD",
        "time": "1:23, about 2:11 left",
        "waiting for": "units",
    }


def test_rows_leave_out_what_is_not_known() -> None:
    assert dict(rows(Snapshot(units=4, waiting_for=live.LEASE))) == {
        "units": "0 of 4 committed",
        "documents": "0 of about 0",
        "speed": "0 documents/s, 0 tokens/s",
        "quarantined": "0",
        "time": "0:00",
        "waiting for": "the run's lease",
    }


def test_a_line_of_the_log() -> None:
    assert line(HALF) == (
        "units 12/40 (+2 in flight), 5,010 of about 16,000 documents, 213/s, 31,204 tokens/s, "
        "left 2:11, device busy 90%, quarantined 3, retries worker_died 1"
    )
    waiting = replace(HALF, waiting_for=live.CHECK, units_in_flight=0, retries={})
    assert line(waiting).endswith(
        "quarantined 3, waiting for the check of all units before publication"
    )
    assert line(replace(waiting, waiting_for=live.DONE)).endswith(", done")


def test_every_phase_has_its_words() -> None:
    phases = [value for name, value in vars(live).items() if name.isupper() and " " not in name]
    for phase in phases:
        assert line(Snapshot(waiting_for=phase))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
