"""What a session shows to Prometheus: each metric, and how a snapshot becomes its values.

One table for both ways out, Ray's own (:mod:`pipeline.execution.live.ray_metrics`) and a file
(:mod:`pipeline.execution.live.metrics_file`), under the names that Ray gives them: ``ray_`` in
front, ``_total`` behind counters. So one dashboard and one set of alerts read both.
``conf/monitoring`` has them, ``docs/metrics.md`` the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.errors import FencedError, TerminatedError
from pipeline.execution.live.snapshot import Snapshot

#: What Ray puts in front of every name.
PREFIX: Final = "ray_"

#: Labels of every metric; ``epoch`` counts the drivers that a run has had.
COMMON: Final = ("run_id", "model", "epoch")

#: Values by what the metric's own label says; of a metric without one, by "".
Values = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: without what Ray adds to it.
        kind: a counter grows while a session lasts and begins anew with the next one.
        description: what it counts, with its unit.
        values: of a snapshot; what is not known yet has none.
        label: its own label beside :data:`COMMON`; empty: none.
    """

    name: str
    kind: Literal["counter", "gauge"]
    description: str
    values: Callable[[Snapshot], Values]
    label: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all its labels."""
        return (*COMMON, self.label) if self.label else COMMON

    @property
    def series(self) -> str:
        """The name by which Prometheus knows it."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"

    def labelled(self, common: Mapping[str, str], value: str) -> dict[str, str]:
        """Its labels, where its own one says ``value``."""
        return {**common, self.label: value} if self.label else dict(common)


def _one(number: Callable[[Snapshot], float | None]) -> Callable[[Snapshot], Values]:
    def values(snapshot: Snapshot) -> Values:
        found = number(snapshot)
        return {} if found is None else {"": float(found)}

    return values


def _cost(snapshot: Snapshot) -> Values:
    return {} if snapshot.cost is None else dict(zip(("low", "high"), snapshot.cost, strict=True))


#: The one that a session ends with; its label says how.
ENDED: Final = Metric(
    name="rerank_sessions_ended",
    kind="counter",
    description="Sessions that have ended, by how: scored (on Ray, whose end comes before the "
    "check of the files), published, terminated, interrupted, fenced, failed.",
    values=lambda snapshot: {},
    label="state",
)

#: When the run last came forward, which no snapshot says by itself.
LAST_PROGRESS: Final = Metric(
    name="rerank_last_progress_timestamp_seconds",
    kind="gauge",
    description="When a document was scored, a unit was committed or the driver began to wait for "
    "something else, in epoch seconds.",
    values=lambda snapshot: {},
)

METRICS: Final = (
    Metric(
        name="rerank_documents",
        kind="counter",
        description="Documents that went through the model, those of unfinished units among them.",
        values=_one(lambda now: now.documents_scored),
    ),
    Metric(
        name="rerank_tokens",
        kind="counter",
        description="Tokens of these documents, with their prompts.",
        values=_one(lambda now: now.tokens_scored),
    ),
    Metric(
        name="rerank_retries",
        kind="counter",
        description="What was tried again, by class.",
        values=lambda now: now.retries,
        label="class",
    ),
    Metric(
        name="rerank_lease_renewals",
        kind="counter",
        description="Renewals of the lease.",
        values=_one(lambda now: now.lease_renewals),
    ),
    Metric(
        name="rerank_units",
        kind="gauge",
        description="Units of the run by state: planned (all of them), done, in_flight, suspected.",
        values=lambda now: {
            "planned": now.units,
            "done": now.units_done,
            "in_flight": now.units_in_flight,
            "suspected": now.units_suspected,
        },
        label="state",
    ),
    Metric(
        name="rerank_run_documents",
        kind="gauge",
        description="Documents of the run by state: planned, committed (by all sessions), reused.",
        values=lambda now: {
            "planned": now.documents_planned,
            "committed": now.documents,
            "reused": now.reused,
        },
        label="state",
    ),
    Metric(
        name="rerank_quarantined",
        kind="gauge",
        description="Documents of committed units without a score, by reason.",
        values=lambda now: now.quarantined,
        label="reason",
    ),
    Metric(
        name="rerank_device_busy_ratio",
        kind="gauge",
        description="Share of the last half minute with the replicas' devices at work.",
        values=_one(lambda now: now.device_busy),
    ),
    Metric(
        name="rerank_replicas",
        kind="gauge",
        description="Replicas by state: wanted, starting, up.",
        values=lambda now: now.replicas,
        label="state",
    ),
    Metric(
        name="rerank_nodes",
        kind="gauge",
        description="Machines with a replica.",
        values=_one(lambda now: now.nodes),
    ),
    Metric(
        name="rerank_gpu_hours",
        kind="gauge",
        description="Hours of all GPUs of this session's replicas.",
        values=_one(lambda now: now.gpu_hours),
    ),
    Metric(
        name="rerank_cost",
        kind="gauge",
        description="Cost of this session's replicas, low and high, in the price file's currency.",
        values=_cost,
        label="bound",
    ),
    Metric(
        name="rerank_seconds_left",
        kind="gauge",
        description="Seconds left at the present rate.",
        values=_one(lambda now: now.left_s),
    ),
    Metric(
        name="rerank_waiting",
        kind="gauge",
        description="1 for what the driver waits for now, 0 for what it has waited for.",
        values=lambda now: {now.waiting_for: 1},
        label="for",
    ),
)

ALL: Final = (*METRICS, LAST_PROGRESS, ENDED)


class Samples:
    """The values of one session, from one snapshot to the next.

    Attributes:
        labels: the common ones.

    Args:
        labels: see above.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = dict(labels)
        self._last: dict[Metric, dict[str, float]] = {}
        self._seen: tuple[object, ...] = ()

    def take(self, snapshot: Snapshot) -> None:
        """Take a snapshot in; what it no longer names is 0."""
        for metric in METRICS:
            before = self._last.get(metric, {})
            gone = dict.fromkeys(before, 0.0) if metric.label and metric.kind == "gauge" else {}
            self._last[metric] = {**gone, **metric.values(snapshot)}
        seen = (snapshot.documents_scored, snapshot.units_done, snapshot.waiting_for)
        if seen != self._seen:
            self._seen = seen
            self._last[LAST_PROGRESS] = {"": snapshot.time}

    def end(self, state: str) -> None:
        """Note how the session ended."""
        self._last[ENDED] = {state: 1.0}

    def values(self) -> Mapping[Metric, Mapping[str, float]]:
        """What each metric stands at; one that has no value yet is not there."""
        return {metric: values for metric, values in self._last.items() if values}


def state_of(error: BaseException) -> str:
    """How a session ended that ``error`` ended."""
    if isinstance(error, FencedError):
        return "fenced"
    if isinstance(error, TerminatedError):
        return "terminated"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
