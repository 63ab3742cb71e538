"""A run of which every replica dies while it loads the model ends, wherever its driver waits."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from pipeline.errors import RunFailedError
from pipeline.execution.failing_starts import MOST, FailingStarts
from pipeline.execution.live.replicas import Replicas
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.termination import Termination
from pipeline.execution.units.replica_reports import ReplicaReport


@dataclass
class Watched:
    replicas: Replicas = field(default_factory=Replicas)
    termination: Termination = field(
        default_factory=lambda: Termination(
            grace_s=60, on_request=lambda: None, on_exit=lambda: None
        )
    )

    def starts(self, replica: str, count: int, *, device: str = "") -> None:
        for number in range(count):
            process = f"{replica}-{device}-{number}"
            self.replicas.take(ReplicaReport(
                replica=replica, process=process, host="a", device=device
            ))  # fmt: skip
        FailingStarts(self.replicas, self.termination).watch(Snapshot())


def test_every_replica_has_so_many_deaths() -> None:
    watched = Watched()
    watched.replicas.wanted = 2
    watched.starts("r", 1 + 2 * MOST)
    assert not watched.termination.requested
    watched.starts("s", 2)
    assert watched.termination.requested
    with pytest.raises(RunFailedError, match=r"9 replicas died one after the other.*memory"):
        watched.termination.check()


def test_one_that_has_loaded_it_is_enough() -> None:
    watched = Watched()
    watched.replicas.wanted = 1
    for number in range(5):
        watched.starts(f"r{number}", MOST)
        watched.starts("s", 1, device="cpu")
    assert not watched.termination.requested


def test_a_driver_that_waits_for_rows_is_woken_up() -> None:
    watched = Watched()
    with pytest.raises(RunFailedError, match="died"), watched.termination.watched():
        thread = threading.Thread(target=watched.starts, args=("r", 2 + MOST))
        thread.start()
        time.sleep(600)


def test_nothing_is_sent_to_a_process_that_does_not_listen() -> None:
    watched = Watched()
    watched.starts("r", 2 + MOST)
    time.sleep(0.05)
    assert watched.termination.requested
