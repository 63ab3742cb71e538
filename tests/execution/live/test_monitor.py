"""The thread that takes snapshots, and observers that fail."""

from __future__ import annotations

import logging
import threading

import pytest

from pipeline.execution.live import snapshot as live
from pipeline.execution.live.monitor import Monitor
from pipeline.execution.live.snapshot import Snapshot


def test_observers_see_snapshots_of_the_phase_that_was_named() -> None:
    monitor = Monitor(lambda phase: Snapshot(waiting_for=phase))
    seen: list[str] = []
    monitor.add(lambda now: seen.append(now.waiting_for))
    with monitor.running():
        monitor.phase("units")
    assert (seen[0], "units" in seen) == ("lease", True)
    assert monitor.latest.waiting_for == "units"
    assert monitor.shown()["waiting_for"] == "units"
    assert not [thread for thread in threading.enumerate() if thread.name == "monitor"]


def test_an_observer_that_raises_is_told_of_once_and_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    monitor = Monitor(lambda phase: Snapshot(waiting_for=phase))
    seen: list[Snapshot] = []

    def broken(now: Snapshot) -> None:
        raise ValueError("no room")

    monitor.add(broken)
    monitor.add(seen.append)
    logger = logging.getLogger("pipeline")
    logger.addHandler(caplog.handler)
    try:
        monitor.look()
        monitor.look()
    finally:
        logger.removeHandler(caplog.handler)
    assert len(seen) == 2
    told = [record for record in dict.fromkeys(caplog.records) if "broken" in record.getMessage()]
    assert len(told) == 1


def test_a_snapshot_that_cannot_be_taken_is_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(phase: str) -> Snapshot:
        raise ValueError(f"no {phase}")

    monkeypatch.setattr(logging.getLogger("pipeline"), "propagate", True)
    monitor = Monitor(broken)
    for phase in (live.CHECK, live.CHECK, live.DONE):
        monitor.phase(phase)
    told = list(dict.fromkeys(caplog.records))
    assert [record.exc_info is not None for record in told] == [True, True]


def test_a_lease_never_says_that_it_is_waited_for() -> None:
    monitor = Monitor(lambda phase: Snapshot(waiting_for=phase))
    monitor.look()
    assert monitor.shown()["waiting_for"] == live.FINISHED_UNITS
    monitor.phase(live.CHECK)
    assert monitor.shown() == monitor.latest.as_dict()
