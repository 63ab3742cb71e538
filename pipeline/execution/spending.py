"""What a run has spent, over all of its sessions, and the limit past which it stops."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

from pipeline.config import LimitsConfig, ReplicasConfig
from pipeline.errors import DamagedRunError, LimitError
from pipeline.execution.live.snapshot import UP, Snapshot
from pipeline.execution.runs.holder import read_holder
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.termination import Termination
from pipeline.pricing.devices import CPU
from pipeline.pricing.prices import Prices

logger = logging.getLogger("pipeline")

#: Under this name in snapshots, and so in the lease, and in the report.
DEVICE_HOURS: Final = "device_hours"

#: Under this name in the report: what all sessions took, those that were killed among them.
SPENT: Final = "spent"

_HOUR_S: Final = 3600.0


def hours_before(folder: RunFolder) -> dict[str, float]:
    """Hours of GPUs by name, and of CPUs, that earlier sessions of a run have taken.

    As the lease tells, which says so every few seconds however a session ends; on a store that can
    keep none, as the last report does.
    """
    try:
        holder = read_holder(folder.path)
        told = (folder.report() or {}) if holder is None else holder.progress
    except DamagedRunError:
        return {}  # whoever needs the file says what is wrong with it
    return _hours(told)


def _hours(told: Mapping[str, Any]) -> dict[str, float]:
    hours = told.get(DEVICE_HOURS) or {}
    return {name: float(value) for name, value in hours.items()}


class Spending:
    """Hours and cost of replicas by the devices that they run on.

    Attributes:
        replicas: those of this session: the share of a device that one takes. They are chosen anew
            for the units that are left, and may have more threads than the plan's.

    Args:
        replicas: likewise, by the plan.
        prices: that count.
        before: hours of earlier sessions, see :func:`hours_before`.
    """

    def __init__(
        self, replicas: ReplicasConfig, prices: Prices, before: Mapping[str, float]
    ) -> None:
        self.replicas = replicas
        self._before = before
        self.prices = prices

    def inherit(self, told: Mapping[str, Any]) -> None:
        """Count what the driver before this one took, by the progress that it left in the lease.

        It may have gone on for as long as this one waited for the lease.
        """
        self._before = _hours(told)

    def hours_of(self, seconds: Mapping[str, float]) -> dict[str, float]:
        """Hours of GPUs by name, and of CPUs, with those of earlier sessions.

        Args:
            seconds: of this session's replicas by the name of their device; of an empty name where
                it is not known yet, which is taken for another one's of this session.
        """
        return dict(Counter(self._before) + Counter(self._session(seconds)))

    def cost_of(self, seconds: Mapping[str, float]) -> tuple[float, float] | None:
        """Lowest and highest cost of this session; None where a device has no price."""
        return self.cost(self._session(seconds))

    def cost(self, hours: Mapping[str, float]) -> tuple[float, float] | None:
        """Lowest and highest cost of hours of devices; None where one has no price."""
        low = high = 0.0
        for device, count in hours.items():
            price = self.prices.of(device)
            if price is None:
                return None
            low, high = low + count * price.low, high + count * price.high
        return low, high

    def described(self, hours: Mapping[str, float]) -> dict[str, Any]:
        """For the report: ``gpu_hours``, ``cost`` (lowest and highest, or None), ``currency``."""
        cost = self.cost(hours)
        return {
            "gpu_hours": gpu_hours(hours),
            "cost": None if cost is None else list(cost),
            "currency": self.prices.currency,
        }

    def _session(self, seconds: Mapping[str, float]) -> dict[str, float]:
        if not self.replicas.gpus:
            return {CPU: sum(seconds.values()) * self.replicas.cpus / _HOUR_S}
        known = [name for name in seconds if name not in ("", CPU)]
        hours: defaultdict[str, float] = defaultdict(float)
        for name, value in seconds.items():
            device = name or next(iter(known), "")
            if device not in ("", CPU):  # a family without a network computes on the CPU
                hours[device] += value * self.replicas.gpus / _HOUR_S
        return dict(hours)


def gpu_hours(hours: Mapping[str, float]) -> float:
    """Those of GPUs among hours of devices."""
    return sum(value for device, value in hours.items() if device != CPU)


class Budget:
    """Looks at snapshots, and ends a run in order that has reached a limit.

    Units at work are finished and kept. Only replicas count, and a limit is passed by what these
    units take.

    Args:
        limits: of the job.
        spending: of the run.
        termination: of the session.
    """

    def __init__(self, limits: LimitsConfig, spending: Spending, termination: Termination) -> None:
        self._limits = limits
        self._spending = spending
        self._termination = termination

    def watch(self, snapshot: Snapshot) -> None:
        """An observer of the monitor.

        Where no unit is left to be begun, nothing is saved by stopping before the publication.
        """
        begun = snapshot.units_done + snapshot.units_in_flight + snapshot.units_suspected
        if begun >= snapshot.units:
            return
        why = reached(self._limits, self._spending, snapshot.device_hours)
        if why is not None and not self._termination.requested:
            logger.warning("%s; no further unit is begun", why)
            self._termination.request(
                LimitError(f"{why}; finished units are kept: raise it and run again to resume"),
                # While replicas load the model no unit ends, at which the request would be heard.
                now=not snapshot.units_in_flight and not snapshot.replicas.get(UP),
            )


def reached(limits: LimitsConfig, spending: Spending, hours: Mapping[str, float]) -> str | None:
    """Which limit was reached, in words; None: none was."""
    spent = gpu_hours(hours)
    if limits.gpu_hours is not None and spent >= limits.gpu_hours:
        return f"limits.gpu_hours = {limits.gpu_hours:g} is reached: {spent:,.3g} GPU-hours"
    if limits.cost is None or not hours:
        return None
    cost = spending.cost(hours)
    if cost is None:
        unknown = [device for device in hours if spending.prices.of(device) is None]
        return no_price(unknown[0])
    if cost[1] < limits.cost:
        return None
    currency = spending.prices.currency
    return (
        f"limits.cost = {limits.cost:g} {currency} is reached: {cost[0]:,.3g} to {cost[1]:,.3g} "
        f"{currency} by the price file"
    )


def no_price(device: str) -> str:
    """What to say of ``limits.cost`` where a device has no price."""
    return (
        f"limits.cost cannot be kept, for no price of {device!r} is known; give one in "
        "rerank-prices.yaml (docs/cost.md), or leave the limit out"
    )
