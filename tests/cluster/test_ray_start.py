"""Ray that comes up late on a busy machine is started again, once what came up has ended."""

from __future__ import annotations

import inspect
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import node

from pipeline.cluster import ray_start
from pipeline.cluster.cleanup_process import VARIABLE
from pipeline.config import RayConfig, ReplicasConfig
from pipeline.errors import RunFailedError

#: What Ray 2.60 raises; starting it so slowly in earnest takes half a minute each time.
LATE = "The current node timed out during startup. This could happen because ..."


class Job:
    """What starting Ray looks at."""

    ray = RayConfig()
    replicas = ReplicasConfig()


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Ray's that a start which failed has left running."""
    marked = {**os.environ, VARIABLE: str(tmp_path)}
    with subprocess.Popen(["sleep", "600"], env=marked) as process:
        yield process
        process.kill()


def test_ray_says_so_as_it_did() -> None:
    assert ray_start._TOO_SLOW in inspect.getsource(node)


def test_a_slow_start_is_made_again_once_its_processes_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_behind: subprocess.Popen[bytes]
) -> None:
    asked: list[bool] = []

    def init(**_: Any) -> None:
        asked.append(left_behind.poll() is None)
        if len(asked) == 1:
            raise Exception(LATE)

    monkeypatch.setattr(ray, "init", init)
    ray_start.start(Job(), str(tmp_path))
    assert asked == [True, False]


def test_a_start_that_is_always_late_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def init(**options: Any) -> None:
        asked.append(options)
        raise Exception(LATE)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunFailedError, match=r"did not start .* in_process"):
        ray_start.start(Job(), str(tmp_path))
    assert len(asked) == 3


def test_what_waiting_does_not_mend_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def init(**options: Any) -> None:
        asked.append(options)
        raise OSError("no space left on device")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunFailedError, match="no space left"):
        ray_start.start(Job(), str(tmp_path))
    assert len(asked) == 1
