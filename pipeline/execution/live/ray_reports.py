"""Reports of replicas on Ray: to one small actor, from which the driver takes them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.execution.units.replica_reports import INTERVAL_S, ReplicaReport, Send

logger = logging.getLogger("pipeline")

#: Reports that a replica may have on their way; further ones are dropped until these are taken.
_ON_THEIR_WAY: Final = 16

#: Seconds that the driver waits for the actor to answer before it asks anew.
_PATIENCE_S: Final = 10.0


class ReplicaReports:
    """Keeps what replicas sent since the driver last asked."""

    def __init__(self) -> None:
        self._kept: dict[str, ReplicaReport] = {}

    def put(self, report: ReplicaReport) -> None:
        """Keep the last report of each process, and the units of all."""
        before = self._kept.get(report.process)
        units = report.units if before is None else before.units | report.units
        self._kept[report.process] = replace(report, units=units)

    def take(self) -> list[ReplicaReport]:
        """Everything since the last call."""
        kept, self._kept = self._kept, {}
        return list(kept.values())


@dataclass(frozen=True)
class _SendToActor:
    """A :data:`Send` that travels to replicas; it never waits for the actor."""

    actor: Any

    def __call__(self, report: ReplicaReport) -> None:
        if not report.replica:  # an actor of Ray Data's pool, which keeps its id when restarted
            own = ray.get_runtime_context().get_actor_id()
            report = replace(report, replica=own or "")
        self.actor.put.remote(report)


@contextmanager
def reports(take: Send) -> Iterator[Send]:
    """What replicas send their reports to, while the body runs.

    The actor takes no CPU and runs beside the driver where it can. Should it be lost it is started
    again, and what it held comes with the next reports.

    Args:
        take: called with each report, in a thread of this process.
    """
    beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "max_pending_calls": _ON_THEIR_WAY}
    kept: Any = ray.remote(ReplicaReports)
    actor = kept.options(**options, scheduling_strategy=beside).remote()
    ended = threading.Event()
    taking = threading.Thread(target=_take_all, args=(actor, take, ended), daemon=True)
    taking.start()
    try:
        yield _SendToActor(actor)
    finally:
        ended.set()
        ray.kill(actor)
        taking.join(_PATIENCE_S)


def _take_all(actor: Any, take: Send, ended: threading.Event) -> None:
    while not ended.wait(INTERVAL_S):
        try:
            for report in ray.get(actor.take.remote(), timeout=_PATIENCE_S):
                take(report)
        except Exception as error:  # whatever it is, the next call may find the actor again
            if not ended.is_set():
                logger.debug("no reports of replicas this time: %s", error)
