"""Marks of attempts: what a dead worker leaves, and how the unit is tried after that."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.execution.runs import attempts
from pipeline.execution.runs.attempts import (
    MOST,
    MarkedUnitError,
    Marker,
    WorkersKilledError,
    at_work,
    attempt,
)

UNIT = "0123abcd"


def left_by_a_dead_worker(folder: Path, number: int = 1) -> None:
    """The mark of an attempt that never came to its end."""
    name = Marker(unit=UNIT, stage="score", number=number).name
    with attempt(str(folder), UNIT, "score"):
        data = Path(folder, attempts.FOLDER, name).read_bytes()
    Path(folder, attempts.FOLDER, name).write_bytes(data)


def test_a_mark_is_there_while_the_body_runs(tmp_path: Path) -> None:
    with attempt(str(tmp_path), UNIT, "score", alone=False):
        assert at_work(str(tmp_path)) == [Marker(unit=UNIT, stage="score", number=1)]
    assert at_work(str(tmp_path)) == []


def test_a_marked_unit_is_not_tried_beside_others(tmp_path: Path) -> None:
    left_by_a_dead_worker(tmp_path)
    before = at_work(str(tmp_path))
    with pytest.raises(MarkedUnitError), attempt(str(tmp_path), UNIT, "score", alone=False):
        raise AssertionError("begun")
    assert at_work(str(tmp_path)) == before
    # Another stage, or another unit, has nothing to do with it.
    with attempt(str(tmp_path), UNIT, "encode", alone=False):
        pass
    with attempt(str(tmp_path), UNIT, "score"):
        assert sorted(mark.number for mark in at_work(str(tmp_path))) == [1, 2]


def test_a_unit_that_killed_all_its_workers_is_not_tried_again(tmp_path: Path) -> None:
    for number in range(1, MOST + 1):
        left_by_a_dead_worker(tmp_path, number)
    with pytest.raises(WorkersKilledError), attempt(str(tmp_path), UNIT, "score"):
        raise AssertionError("begun")
    attempts.forget(str(tmp_path))
    with attempt(str(tmp_path), UNIT, "score", alone=False):
        pass


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("", ""),
        ("Traceback (most recent call last):\n  File x\nValueError: no\n", "ValueError: no"),
        ("x\nFatal Python error: Aborted\n\nThread 1:\n  File x", "Fatal Python error: Aborted"),
        ("Timeout (0:00:04)!\nThread 1:\n  File x, line 3\n", "Timeout (0:00:04)!"),
    ],
)  # fmt: skip
def test_in_a_line_is_why_a_worker_ended(tail: str, said: str) -> None:
    assert attempts.in_a_line(tail) == said
