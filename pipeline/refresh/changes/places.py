"""Where changes are made: in this process where there is little to do, else by tasks of Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from pipeline.cluster.ray_start import RayJob
from pipeline.config import RayConfig, ReplicasConfig
from pipeline.execution.task_session import TaskSession, task_session
from pipeline.refresh.changes.in_process import InProcess
from pipeline.refresh.changes.part_files import Record
from pipeline.refresh.changes.work import RunFile, Work


class Place(Protocol):
    """Where the work is done."""

    def records(self, work: Work, todo: Sequence[int]) -> Iterator[Record]:
        """Parts as they are written, in any order."""

    def rows(
        self, files: Sequence[RunFile], pick: Callable[[RunFile], pa.Table]
    ) -> Iterator[pa.Table]:
        """What a function picks from each file, in any order."""


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """What a session of Ray needs to know where there is no job with a model."""

    ray: RayConfig
    replicas: ReplicasConfig = field(default_factory=lambda: ReplicasConfig(min=1, num_cpus=1))


class OnRay:
    """The tasks of a session of Ray."""

    def __init__(self, session: TaskSession) -> None:
        self._session = session

    def records(self, work: Work, todo: Sequence[int]) -> Iterator[Record]:
        """Parts as they are written, in any order."""
        from pipeline.refresh.changes.graph import records

        yield from self._session.explained(lambda: records(work, todo, self._session.ray))

    def rows(
        self, files: Sequence[RunFile], pick: Callable[[RunFile], pa.Table]
    ) -> Iterator[pa.Table]:
        """What a function picks from each file, in any order."""
        from pipeline.refresh.changes.graph import picked

        yield from self._session.explained(lambda: picked(files, pick, self._session.ray))


def place_of(config: RayJob, staying: ExitStack, *, buckets: int) -> Place:
    """Where two runs are compared.

    Args:
        config: which Ray; ``ray.mode: auto`` is this process for a single bucket, unless a Ray runs
            already or a cluster is to be joined.
        staying: takes Ray over, where it is started.
        buckets: that are to be compared.
    """
    ray = config.ray
    running = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    given = running or ray.address or os.environ.get("RAY_ADDRESS")
    if ray.mode == "in_process" or (ray.mode == "auto" and buckets == 1 and not given):
        return InProcess()
    return OnRay(task_session(config, staying))
