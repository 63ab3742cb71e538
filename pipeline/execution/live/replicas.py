"""The replicas of a session as the driver knows them by their reports."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.execution.live.snapshot import STARTING, UP, WANTED
from pipeline.execution.units.replica_reports import SILENT_S, ReplicaReport


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All replicas at one moment.

    Attributes:
        documents: that went through the model, in all processes of this session.
        tokens: likewise.
        busy_s: seconds of work of their devices.
        ready_s: seconds of the processes that have loaded the model, each from its start.
        seconds: of all processes, each from its start, by the name of the device; empty where that
            is not known yet.
        in_flight: documents that are scored, of each unit that is begun and has not ended.
        states: replicas by state.
        nodes: machines with a replica; None before any was heard of.
        died: processes that were replaced by another one of the same replica.
    """

    documents: int
    tokens: int
    busy_s: float
    ready_s: float
    seconds: Mapping[str, float]
    in_flight: Mapping[str, int]
    states: Mapping[str, int]
    nodes: int | None
    died: int


class Replicas:
    """Takes reports from any thread, in any order.

    Attributes:
        wanted: replicas that there are to be; 0 before that is known.

    Args:
        clock: seconds that do not go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.wanted = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._reports: dict[str, ReplicaReport] = {}  # the last one of each process
        self._current: dict[str, str] = {}  # process of each replica
        self._heard: dict[str, float] = {}  # when each replica was heard of
        self._in_flight: dict[str, int] = {}
        self._died = self._died_loading = 0

    @property
    def died_loading(self) -> int:
        """Processes that were replaced before they had loaded the model, since one has."""
        with self._lock:
            return self._died_loading

    def take(self, report: ReplicaReport) -> None:
        """Take one report; one that a later one of its process overtook says nothing new."""
        replica = report.replica or report.process
        with self._lock:
            known = self._reports.get(report.process)
            if known is not None and (known.age_s > report.age_s or known.ended):
                return
            self._reports[report.process] = report
            if known is None:
                before = self._reports.get(self._current.get(replica, ""))
                self._died += before is not None
                self._died_loading += before is not None and not before.device
                self._current[replica] = report.process
            if report.device:
                self._died_loading = 0
            if self._current[replica] != report.process:
                return  # the last words of a process that has been replaced
            self._heard[replica] = self._clock()
            self._in_flight.update(report.units)

    def total(self, ended: Callable[[str], bool]) -> Totals:
        """What all reports say.

        Args:
            ended: whether a unit is through, or set aside: it is in flight no more.
        """
        with self._lock:
            for unit in [unit for unit in self._in_flight if ended(unit)]:
                del self._in_flight[unit]
            everything = self._reports.values()
            seconds: dict[str, float] = defaultdict(float)
            for report in everything:
                seconds[report.device] += report.age_s
            living = self._living()
            up = sum(bool(report.device) for report in living)
            return Totals(
                documents=sum(report.documents for report in everything),
                tokens=sum(report.tokens for report in everything),
                busy_s=sum(report.busy_s for report in everything),
                ready_s=sum(report.ready_s for report in everything),
                seconds=dict(seconds),
                in_flight=dict(self._in_flight),
                states={WANTED: self.wanted, STARTING: len(living) - up, UP: up},
                nodes=len({report.host for report in living}) if self._reports else None,
                died=self._died,
            )

    def _living(self) -> list[ReplicaReport]:
        """The last reports of replicas that have not ended, and are not silent for long."""
        since = self._clock() - SILENT_S
        found = [
            self._reports[process]
            for replica, process in self._current.items()
            if self._heard[replica] >= since
        ]
        return [report for report in found if not report.ended]
