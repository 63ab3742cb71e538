"""Steps that take long are told of while they last."""

from __future__ import annotations

import logging
import threading

import pytest

from pipeline.execution.live.slow import told_while_slow


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], threading.Event]:
    lines: list[str] = []
    came = threading.Event()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())
            came.set()

    logger = logging.getLogger("pipeline")
    monkeypatch.setattr(logger, "handlers", [Keep()])
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    return lines, came


def test_a_quick_step_says_nothing(told: tuple[list[str], threading.Event]) -> None:
    with told_while_slow("the input", quiet_s=60):
        pass
    assert told[0] == []


def test_a_slow_step_says_what_is_waited_for(told: tuple[list[str], threading.Event]) -> None:
    lines, came = told
    with told_while_slow("the input", quiet_s=0.01):
        assert came.wait(60)
    assert lines[0] == "waiting for the input, 0 s so far"
    count = len(lines)
    came.clear()
    assert not came.wait(0.1)
    assert len(lines) == count
