"""Times of a file are believed a tick after its last write, whatever this machine's clock says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.storage.local.identity import wait_until_settled


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of every pause, none of which is waited for."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


@pytest.fixture
def look(tmp_path: Path) -> Callable[[], os.stat_result]:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    return path.stat


def clock(monkeypatch: pytest.MonkeyPatch, *, now_ns: int) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)


def test_a_file_of_long_ago_is_believed_at_once(
    look: Callable[[], os.stat_result], slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, now_ns=look().st_ctime_ns + 3_600 * 10**9)
    assert wait_until_settled(look) == look()
    assert slept == []


def test_a_young_file_is_looked_at_again_after_the_tick(
    look: Callable[[], os.stat_result], slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, now_ns=look().st_ctime_ns + 5_000_000)
    monkeypatch.setattr(time, "sleep", lambda s: (slept.append(s), clock(
        monkeypatch, now_ns=look().st_ctime_ns + 30_000_000
    )))  # fmt: skip
    assert wait_until_settled(look) == look()
    assert slept == [pytest.approx(0.015)]


def test_a_clock_that_is_behind_is_not_believed(
    tmp_path: Path, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By it the file is written in an hour: a write during the pause must show all the same."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    clock(monkeypatch, now_ns=path.stat().st_ctime_ns - 3_600 * 10**9)
    assert wait_until_settled(path.stat) == path.stat()
    assert slept == [pytest.approx(0.02)]
    slept.clear()

    def written_to(seconds: float) -> None:
        if not slept:
            other = tmp_path / "other"
            other.write_bytes(b"y")
            other.replace(path)
            path.touch()
        slept.append(seconds)

    before = path.stat()
    monkeypatch.setattr(time, "sleep", written_to)
    assert wait_until_settled(path.stat) == path.stat() != before
    assert len(slept) == 2
