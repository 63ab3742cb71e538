"""From speeds to hours and prices: what the rest of a run takes on each device."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.config import ReplicasConfig
from pipeline.forecast.estimates import Estimate
from pipeline.forecast.speed import Speed
from pipeline.pricing.devices import CPU
from pipeline.pricing.prices import Prices

_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class DeviceForecast:
    """What the documents that are left take on one kind of device.

    Attributes:
        speed: of one replica on it.
        count: GPUs, or replicas on CPU, that work at the same time.
        here: whether this machine has it.
        hours: lowest and highest, of all GPUs or of all CPUs together.
        seconds: lowest and highest by the clock, the start and even shares assumed.
        cost: lowest and highest; None where no price is known.
        cpu_seconds: that encoding and the network take, on CPU; None where that was not measured.
    """

    speed: Speed
    count: int
    here: bool
    hours: tuple[float, float]
    seconds: tuple[float, float]
    cost: tuple[float, float] | None
    cpu_seconds: float | None = None

    @property
    def likely_s(self) -> float:
        """The middle of the clock's range, by factors."""
        return math.sqrt(self.seconds[0] * self.seconds[1])


def device_forecast(
    speed: Speed,
    *,
    documents: Estimate,
    startup_s: float,
    replicas: ReplicasConfig,
    count: int,
    here: bool,
    prices: Prices,
) -> DeviceForecast:
    """Hours, time and cost on a device.

    Args:
        speed: of one replica on it.
        documents: that are to be scored, with how far off what they take may be.
        startup_s: seconds before the first unit is scored, and after the last one.
        replicas: of the job; CPUs of one, which are paid on CPU.
        count: see :class:`DeviceForecast`.
        here: likewise.
        prices: that count.
    """
    busy = documents.low / speed.high, documents.high / speed.low  # seconds of one replica
    width = replicas.cpus if speed.kind == CPU else max(1.0, replicas.gpus)
    paid = tuple((one + count * startup_s) * width / _HOUR_S for one in busy)
    price = prices.of(CPU if speed.kind == CPU else speed.device)
    return DeviceForecast(
        speed=speed,
        count=count,
        here=here,
        hours=(paid[0], paid[1]),
        seconds=(busy[0] / count + startup_s, busy[1] / count + startup_s),
        cost=None if price is None else (paid[0] * price.low, paid[1] * price.high),
        cpu_seconds=None if speed.per_cpu_s is None else documents.value / speed.per_cpu_s,
    )


def gpus_of(replicas: ReplicasConfig) -> int:
    """Replicas of a job that have a whole GPU each, or the GPUs that they share."""
    return max(1, math.ceil(replicas.most * min(1.0, replicas.gpus)))
