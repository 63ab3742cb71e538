"""What replicas cost: their time, by the price of what they run on."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.pricing.devices import CPU
from pipeline.pricing.prices import Prices

_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """What one replica costs by the hour.

    A replica on GPUs costs its share of them, whose price holds the host's; one on CPU costs its
    CPUs. What reads, encodes and commits beside the replicas, the head of a cluster, storage and
    traffic are not counted.

    Attributes:
        device: name of the GPU, or ``cpu``.
        currency: ISO 4217.
        low: per replica-hour, at the lowest price.
        high: likewise, at the highest.
    """

    device: str
    currency: str
    low: float
    high: float

    def cost(self, replica_seconds: float) -> tuple[float, float]:
        """Lowest and highest cost of so many seconds, summed over replicas."""
        return self.low * replica_seconds / _HOUR_S, self.high * replica_seconds / _HOUR_S


def tariff_of(
    device: str, *, num_gpus: float, num_cpus: float, prices: Prices
) -> Tariff | None:  # fmt: skip
    """What a replica costs; None where the price of its device is not known.

    Args:
        device: name of its GPU as the driver, torch or Ray tells it; anything where it has none.
        num_gpus: GPUs of a replica; 0: it scores on CPU.
        num_cpus: CPUs of a replica.
        prices: that count.
    """
    name = device if num_gpus else CPU
    price, share = prices.of(name), num_gpus or num_cpus
    if price is None:
        return None
    return Tariff(
        device=name, currency=prices.currency, low=price.low * share, high=price.high * share
    )


def cost(
    device: str, replica_seconds: float, *, num_gpus: float, num_cpus: float, prices: Prices
) -> tuple[float, float] | None:
    """Lowest and highest cost of replicas in the prices' currency; None: no price is known.

    Args:
        device: see :func:`tariff_of`.
        replica_seconds: sum over replicas of the seconds since each was started.
        num_gpus: GPUs of a replica.
        num_cpus: CPUs of a replica.
        prices: see :func:`~pipeline.pricing.prices.load_prices`.
    """
    tariff = tariff_of(device, num_gpus=num_gpus, num_cpus=num_cpus, prices=prices)
    return None if tariff is None else tariff.cost(replica_seconds)
