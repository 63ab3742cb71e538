"""How fast a model will be on a device, by what was measured there.

A rate is taken over by operations per second: those of the same network on the same device in the
same precision, between the lengths that were measured. Where only other networks were measured on a
device, their slowest and fastest bound a guess, which says that it is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from pipeline.plurals import counted
from pipeline.pricing.devices import CPU
from pipeline.pricing.rates import Known, Rate

#: measured: this network on this device; scaled: with another number of threads; guess: other
#: networks on this device; given: by the user.
Basis = Literal["measured", "scaled", "guess", "given"]

#: The kinds of basis from best to worst.
_ORDER: Final[tuple[Basis, ...]] = ("given", "measured", "scaled", "guess")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be fast.

    Attributes:
        network: its sizes, see :func:`pipeline.networks.flops.shape_of`; empty where unknown.
        family: that encodes the prompts.
        digest: of the checkpoint.
        flop_per_document: on average, prompts whole.
        mean_length: tokens that a token's sequence has on average.
        dtypes: precision of the network's body on cpu and cuda.
        threads: of a replica on CPU.
    """

    network: str
    family: str
    digest: str
    flop_per_document: float
    mean_length: float
    dtypes: Mapping[str, str]
    threads: int


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Documents per second of one replica with a whole GPU, or on a CPU.

    Attributes:
        device: its name.
        kind: cpu or cuda; a rate that the user gives is of a GPU unless the device is ``cpu``.
        dtype: precision of the network's body; empty where the user gives the rate.
        low: where encoding is not done beside the network, or by the slowest that was measured.
        high: where it is, or by the fastest.
        per_cpu_s: documents per CPU-second, on CPU; None where that was not measured.
        basis: what it is known from.
        own: whether the user measured or gave it.
        origin: in words, for people.
    """

    device: str
    kind: Literal["cpu", "cuda"]
    dtype: str
    low: float
    high: float
    per_cpu_s: float | None
    basis: Basis
    own: bool
    origin: str


def given(rates: Mapping[str, float]) -> list[Speed]:
    """Speeds that the user gives: documents per second by type of GPU."""
    return [
        Speed(device=name, kind="cpu" if name == CPU else "cuda", dtype="", low=rate, high=rate,
              per_cpu_s=None, basis="given", own=True, origin="--gpu-rate")
        for name, rate in rates.items()
    ]  # fmt: skip


def speeds(wanted: Wanted, rates: Sequence[Known]) -> list[Speed]:
    """What each device that was measured would reach, best known first.

    The user's own measurements of a device go before the shipped ones.
    """
    devices = {(known.rate.device, known.rate.kind): None for known in rates}
    found = (_of_device(wanted, device, kind, rates) for device, kind in devices)
    return sorted(
        (speed for speed in found if speed is not None),
        key=lambda speed: (not speed.own, _ORDER.index(speed.basis), speed.device),
    )


def _of_device(
    wanted: Wanted, device: str, kind: Literal["cpu", "cuda"], rates: Sequence[Known]
) -> Speed | None:
    dtype = wanted.dtypes.get(kind)
    here = [
        known for known in rates
        if (known.rate.device, known.rate.kind, known.rate.dtype) == (device, kind, dtype)
    ]  # fmt: skip
    if dtype is None or not here:
        return None
    same, basis = _same_network(wanted, here)
    if not same:
        return _guess(wanted, here, dtype)
    factor = 1.0
    if basis == "scaled":
        factor = wanted.threads / (same[0].rate.threads or 1)
    rates_there = [known.rate for known in same]
    low = _interpolated([(r, r.flop_per_s) for r in rates_there], wanted.mean_length)
    high = _interpolated([(r, r.network_flop_per_s) for r in rates_there], wanted.mean_length)
    return Speed(
        device=device,
        kind=kind,
        dtype=dtype,
        low=factor * low / wanted.flop_per_document,
        high=factor * high / wanted.flop_per_document,
        per_cpu_s=_per_cpu_s(wanted, rates_there),
        basis=basis,
        own=same[0].own,
        origin=_origin(same, basis),
    )


def _per_cpu_s(wanted: Wanted, rates: Sequence[Rate]) -> float | None:
    found = [(rate, rate.flop_per_cpu_s) for rate in rates if rate.flop_per_cpu_s is not None]
    if not found:
        return None
    return _interpolated(found, wanted.mean_length) / wanted.flop_per_document


def _same_network(wanted: Wanted, here: Sequence[Known]) -> tuple[list[Known], Basis]:
    """The rates that tell most of a network: one's own first, then the checkpoint, the family.

    On CPU those with as many threads go before others.
    """
    same = [known for known in here if wanted.network and known.rate.network == wanted.network]
    same = _preferred(same, [known for known in same if known.own])
    same = _preferred(same, [known for known in same if known.rate.family == wanted.family])
    same = _preferred(
        same, [known for known in same if wanted.digest and known.rate.digest == wanted.digest]
    )
    if not same or same[0].rate.kind != "cpu":
        return same, "measured"
    equal = [known for known in same if known.rate.threads == wanted.threads]
    if equal:
        return equal, "measured"
    threads = {known.rate.threads or 1 for known in same}
    nearest = min(threads, key=lambda count: abs(count - wanted.threads))
    return [known for known in same if known.rate.threads == nearest], "scaled"


def _preferred(every: list[Known], some: list[Known]) -> list[Known]:
    return some or every


def _guess(wanted: Wanted, here: Sequence[Known], dtype: str) -> Speed:
    """Between the slowest and the fastest of other networks on the device, by operations."""
    first = here[0].rate
    each = [
        flops * (wanted.threads / (known.rate.threads or 1) if first.kind == "cpu" else 1.0)
        for known in here
        for flops in (known.rate.flop_per_s, known.rate.network_flop_per_s)
    ]
    return Speed(
        device=first.device,
        kind=first.kind,
        dtype=dtype,
        low=min(each) / wanted.flop_per_document,
        high=max(each) / wanted.flop_per_document,
        per_cpu_s=None,
        basis="guess",
        own=all(known.own for known in here),
        origin=_origin(here, "guess"),
    )


def _origin(rates: Iterable[Known], basis: Basis) -> str:
    names = list(dict.fromkeys(known.rate.model for known in rates))
    [origin, *_] = [known.origin for known in rates]
    threads = next((known.rate.threads for known in rates), None)
    scaled = f" with {counted(threads or 0, 'thread')}"
    told = {"scaled": scaled, "guess": ", other networks"}.get(basis, "")
    return f"{origin}: {', '.join(names)}{told}"


def _interpolated(measured: Sequence[tuple[Rate, float]], length: float) -> float:
    """Operations per second at a mean length: linear in the logarithms, constant at the ends.

    Several measurements at one length count as their geometric mean.
    """
    groups: dict[float, list[float]] = {}
    for rate, speed in measured:
        groups.setdefault(round(math.log(rate.mean_length), 1), []).append(math.log(speed))
    points = sorted((at, sum(logs) / len(logs)) for at, logs in groups.items())
    wanted = math.log(length)
    if wanted <= points[0][0]:
        return math.exp(points[0][1])
    for (x0, y0), (x1, y1) in pairwise(points):
        if wanted <= x1:
            return math.exp(y0 + (y1 - y0) * (wanted - x0) / (x1 - x0))
    return math.exp(points[-1][1])
