"""The thread that takes snapshots, and observers that fail."""

from __future__ import annotations

import itertools
import logging
import threading

import pytest

from pipeline.execution.live import monitor as monitor_module
from pipeline.execution.live import snapshot as live
from pipeline.execution.live.monitor import Monitor
from pipeline.execution.live.snapshot import Snapshot
from tests.execution.drivers import wait_for


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


def test_after_the_last_snapshot_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even of the thread that was about to take one."""
    monkeypatch.setattr(monitor_module, "INTERVAL_S", 0.001)
    taken = itertools.count(1)
    at_work, go_on = threading.Event(), threading.Event()

    def measure(phase: str) -> Snapshot:
        if threading.current_thread().name == "monitor":
            at_work.set()
            go_on.wait()
        return Snapshot(waiting_for=phase, units=next(taken))

    monitor = Monitor(measure)
    seen: list[Snapshot] = []
    with monitor.running():
        monitor.add(seen.append)
        at_work.wait()
        threading.Timer(0.05, go_on.set).start()
        monitor.end(live.DONE)
        last = monitor.latest
        assert last.waiting_for == live.DONE
        wait_for(lambda: not [one for one in threading.enumerate() if one.name == "monitor"])
        assert monitor.look() is last
    assert monitor.latest is seen[-1] is last
    assert monitor.shown() == last.as_dict()
