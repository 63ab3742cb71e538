"""When progress becomes a line of the log."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from pipeline.execution.live import snapshot as live
from pipeline.execution.live.lines import PROGRESS, Lines
from pipeline.execution.live.snapshot import Snapshot

START = Snapshot(units=3, waiting_for=live.LEASE)
FIRST = replace(START, waiting_for=live.FIRST_UNIT)
BATCH = replace(FIRST, documents_scored=8)
UNIT = replace(BATCH, waiting_for=live.UNITS, units_done=1)
LAST = replace(UNIT, units_done=3)
DONE = replace(LAST, waiting_for=live.DONE)


def told(seen: list[Snapshot], caplog: pytest.LogCaptureFixture, every_s: float) -> list[Snapshot]:
    observer = Lines(every_s)
    logger = logging.getLogger("pipeline")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="pipeline"):
            for snapshot in seen:
                observer(snapshot)
    finally:
        logger.removeHandler(caplog.handler)
    return [
        Snapshot.from_dict(getattr(record, PROGRESS))
        for record in dict.fromkeys(caplog.records)
        if hasattr(record, PROGRESS)
    ]


def test_news_come_at_once_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    seen = [START, FIRST, FIRST, BATCH, BATCH, UNIT, UNIT, LAST, DONE]
    assert told(seen, caplog, 3600) == [FIRST, BATCH, LAST]


def test_each_interval_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    assert told([START, UNIT, UNIT], caplog, 1e-9) == [UNIT, UNIT]
