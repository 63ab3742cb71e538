"""From speeds to hours and prices: what the rest of a run takes on each device."""

from __future__ import annotations

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
        count: GPUs that work at the same time, or are held by replicas that do; replicas on CPU.
        here: whether this machine has it.
        documents_per_s: lowest and highest, of all of them together.
        hours: lowest and highest, of all GPUs or of all CPUs together.
        seconds: lowest and highest by the clock, the start and even shares assumed.
        cost: lowest and highest; None where no price is known.
        cpu_seconds: that encoding and the network take, on CPU; None where that was not measured.
    """

    speed: Speed
    count: int
    here: bool
    documents_per_s: tuple[float, float]
    hours: tuple[float, float]
    seconds: tuple[float, float]
    cost: tuple[float, float] | None
    cpu_seconds: float | None = None


def device_forecast(
    speed: Speed,
    *,
    documents: Estimate,
    startup_s: float,
    replicas: ReplicasConfig,
    together: int,
    here: bool,
    prices: Prices,
) -> DeviceForecast:
    """Hours, time and cost on a device.

    Replicas that share a GPU are together as fast as one that has it. One that takes several GPUs
    is as fast as on one of them, for no family computes on more, and all are paid.

    Args:
        speed: of one replica on it.
        documents: that are to be scored, with how far off what they take may be.
        startup_s: seconds before the first unit is scored, and after the last one.
        replicas: of the job; CPUs of one, which are paid on CPU, or GPUs.
        together: replicas that work at the same time.
        here: see :class:`DeviceForecast`.
        prices: that count.
    """
    busy = documents.low / speed.high, documents.high / speed.low  # seconds of one replica
    if speed.kind == CPU:
        count, workers, width = together, together, replicas.cpus
    else:
        count = replicas.gpus_for(together)
        workers, width = min(count, together), max(1.0, replicas.gpus)
    paid = tuple((one + workers * startup_s) * width / _HOUR_S for one in busy)
    price = prices.of(CPU if speed.kind == CPU else speed.device)
    return DeviceForecast(
        speed=speed,
        count=count,
        here=here,
        documents_per_s=(speed.low * workers, speed.high * workers),
        hours=(paid[0], paid[1]),
        seconds=(busy[0] / workers + startup_s, busy[1] / workers + startup_s),
        cost=None if price is None else (paid[0] * price.low, paid[1] * price.high),
        cpu_seconds=None if speed.per_cpu_s is None else documents.value / speed.per_cpu_s,
    )


def replicas_on_gpus(replicas: ReplicasConfig, gpus: int | None) -> int:
    """Replicas of a job that work at the same time on GPUs; one of a job that has none.

    Args:
        replicas: of the job.
        gpus: that there are; None: as many as its replicas take.
    """
    if gpus is not None:
        return max(1, replicas.fitting(gpus))
    return replicas.most if replicas.gpus else 1
