"""All numbers of a run at one moment, under the names that they have wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

#: What a driver waits for, in the order of a run that goes well.
LEASE: Final = "lease"
FINISHED_UNITS: Final = "finished units"
WORKERS: Final = "workers"
MODEL: Final = "model"
FIRST_UNIT: Final = "first unit"
UNITS: Final = "units"
CHECK: Final = "check"
PUBLICATION: Final = "publication"
DONE: Final = "done"
#: In between where no replica has had a unit for a minute.
HELD_BACK: Final = "a unit for a replica"
#: In between where units failed, after SIGTERM, and at the end of a session that publishes nothing.
SUSPECTS: Final = "units that failed"
LAST_UNITS: Final = "units at work, before it stops"
STOPPED: Final = "stopped"

#: Classes of :attr:`Snapshot.retries`.
WORKER_DIED: Final = "worker_died"
MODEL_RAISED: Final = "model_raised"
UNIT_SUSPECTED: Final = "unit_suspected"
STORE_RETRIED: Final = "store_retried"

#: States of :attr:`Snapshot.replicas`.
WANTED: Final = "wanted"
STARTING: Final = "starting"
UP: Final = "up"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A run at one moment; plain numbers, so that it can be sent anywhere.

    Attributes:
        time: when it was taken, in epoch seconds.
        elapsed_s: seconds of this session since its job was planned.
        waiting_for: what the driver waits for, one of the phases above.
        units: units of the run.
        units_done: committed ones, by earlier sessions as well.
        units_in_flight: those that a replica works on, or has scored and are not committed yet.
        units_suspected: those set aside because they killed workers or made the model raise.
        documents_planned: documents of the run, as it was planned.
        documents: those of committed units: scored, reused and quarantined.
        documents_in_flight: documents that are scored, of units that are not committed yet.
        documents_scored: what went through the model in this session, units that are not committed
            yet among it. What a dead worker had scored of a unit counts again with its retry.
        tokens_scored: their tokens, likewise.
        documents_per_s: documents through the model per second, of the last half minute.
        tokens_per_s: tokens, likewise.
        reused: documents of committed units whose score is an earlier run's.
        quarantined: documents and queries without a score in committed units, by reason.
        retries: what was tried again in this session: ``worker_died`` counts processes that were
            lost, ``unit_suspected`` units set aside for that, ``model_raised`` units set aside
            because the model raised, ``store_retried`` requests to stores that were sent again for
            units that have ended.
        device_busy: share of the last half minute with the devices of the replicas at work; None
            before a replica is up.
        replicas: processes with the model by state: wanted, starting, up.
        nodes: machines with a replica; None before one has reported.
        replica_seconds: seconds of all replicas of this session, each from its start.
        gpu_hours: hours of all their GPUs.
        device_hours: hours of GPUs by name, and of CPUs (``cpu``), of the replicas of all sessions
            of the run.
        cost: of the replicas so far, low and high; None where no price is known.
        currency: of the cost, ISO 4217; empty where nobody counts it.
        left_s: seconds left at the rate of the last minutes; None before the first documents.
        lease_renewals: how often this session renewed its lease.
    """

    time: float = 0.0
    elapsed_s: float = 0.0
    waiting_for: str = LEASE
    units: int = 0
    units_done: int = 0
    units_in_flight: int = 0
    units_suspected: int = 0
    documents_planned: int = 0
    documents: int = 0
    documents_in_flight: int = 0
    documents_scored: int = 0
    tokens_scored: int = 0
    documents_per_s: float = 0.0
    tokens_per_s: float = 0.0
    reused: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    device_busy: float | None = None
    replicas: Mapping[str, int] = field(default_factory=dict)
    nodes: int | None = None
    replica_seconds: float = 0.0
    gpu_hours: float = 0.0
    device_hours: Mapping[str, float] = field(default_factory=dict)
    cost: tuple[float, float] | None = None
    currency: str = ""
    left_s: float | None = None
    lease_renewals: int = 0

    @property
    def device_starved(self) -> float | None:
        """Share of the last half minute in which the devices had nothing to do."""
        return None if self.device_busy is None else 1 - self.device_busy

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every attribute by its name, floats cut to what they are good for."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Snapshot:
        """The inverse of :meth:`as_dict`; what another version did not know has its default."""
        known = {item.name: numbers[item.name] for item in fields(cls) if item.name in numbers}
        if known.get("cost") is not None:
            low, high = known["cost"]
            known["cost"] = (low, high)
        return cls(**known)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value
