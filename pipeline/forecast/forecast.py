"""Everything that is told of a planned job before it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.engine import processor
from pipeline.engine.device import dtype_name
from pipeline.errors import ConfigurationError, RerankError
from pipeline.forecast.estimates import Estimate
from pipeline.forecast.money import DeviceForecast, device_forecast, replicas_on_gpus
from pipeline.forecast.remarks import remarks
from pipeline.forecast.sample import Sample
from pipeline.forecast.sampling import DOCUMENTS, take_sample
from pipeline.forecast.speed import Speed, Wanted, given, speeds
from pipeline.forecast.subject import Subject
from pipeline.machine import cpus, gpus
from pipeline.networks.flops import shape_of
from pipeline.pricing.devices import nearest_type
from pipeline.pricing.prices import Prices, load_prices
from pipeline.pricing.rates import load_rates
from pipeline.rerankers.base import WeightedReranker

logger = logging.getLogger("pipeline")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a forecast is asked for.

    Attributes:
        sample: candidates that are tokenised.
        gpus: that work at the same time; None: as the job's replicas say.
        gpu_rates: documents per second of one GPU, by its type, that the user knows better.
    """

    sample: int = DOCUMENTS
    gpus: int | None = None
    gpu_rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take.

    Attributes:
        subject: what of.
        sample: that was tokenised; None where nothing was, see ``why``.
        why: no sample was taken; empty where one was.
        devices: what is left to do takes on each, the job's own first.
        prices: by which.
        warnings: see :func:`~pipeline.forecast.remarks.remarks`.
    """

    subject: Subject
    sample: Sample | None
    why: str
    devices: tuple[DeviceForecast, ...]
    prices: Prices
    warnings: tuple[str, ...]

    @property
    def own(self) -> tuple[DeviceForecast, ...]:
        """The devices that the job may run on: those here, or all of its kind on a cluster."""
        kind = "cuda" if self.subject.config.replicas.num_gpus else "cpu"
        fitting = tuple(one for one in self.devices if one.speed.kind == kind)
        return tuple(one for one in fitting if one.here) or fitting


def forecast(subject: Subject, asked: Asked | None = None) -> Forecast:
    """Sample, tokenise, look rates and prices up. Nothing is written and no network is loaded.

    Raises:
        ConfigurationError: a file of rates or prices of the user's own is wrong.
    """
    asked = asked or Asked()
    prices = load_prices()
    sample, why = None, "there are no candidates, or they are images"
    try:
        sample = take_sample(subject, documents=asked.sample)
    except RerankError as error:
        why = str(error)
    except Exception as error:  # where it matters, the run says what is wrong
        logger.debug("the sample cannot be judged", exc_info=error)
        why = f"the sample cannot be encoded ({type(error).__name__}: {error})"
    found = given(asked.gpu_rates)
    wanted = None if sample is None else _wanted(subject, sample)
    if wanted is not None:
        found += speeds(wanted, load_rates())
    devices = [_device(speed, subject, sample, asked, prices) for speed in found]
    own_kind = "cuda" if subject.config.replicas.num_gpus else "cpu"
    devices.sort(key=lambda one: (not one.here, one.speed.kind != own_kind))
    return Forecast(
        subject=subject,
        sample=sample,
        why="" if sample is not None else why,
        devices=tuple(devices),
        prices=prices,
        warnings=tuple(remarks(subject, sample)),
    )


def _wanted(subject: Subject, sample: Sample) -> Wanted | None:
    """What is to be fast; None where the sizes of the network are not known."""
    reranker, length = subject.reranker, sample.mean_length
    if length is None or not isinstance(reranker, WeightedReranker):
        return None
    config = subject.config
    return Wanted(
        network=shape_of(reranker.checkpoint.config),
        family=str(config.model.family),
        digest=subject.digest,
        flop_per_document=sample.per_document(lambda piece: piece.flops).value,
        mean_length=length,
        dtypes=_dtypes(config.engine.dtype),
        threads=max(1, round(config.replicas.cpus)),
    )


def _dtypes(asked: str) -> dict[str, str]:
    """Precision on each kind of device; a kind that does not compute in it is left out."""
    found = {}
    for kind in ("cpu", "cuda"):
        try:
            found[kind] = dtype_name(asked, kind)
        except ConfigurationError:
            continue
    return found


def _device(
    speed: Speed, subject: Subject, sample: Sample | None, asked: Asked, prices: Prices
) -> DeviceForecast:
    replicas = subject.config.replicas
    cuda = speed.kind == "cuda"
    together = replicas_on_gpus(replicas, asked.gpus) if cuda else _on_cpus(subject)
    # A unit is one replica's, so no more have work.
    together = min(together, max(1, subject.units_left))
    return device_forecast(
        speed,
        documents=_documents(subject, sample),
        startup_s=subject.startup_s,
        replicas=replicas,
        together=together,
        here=_is_here(speed),
        prices=prices,
    )


def _on_cpus(subject: Subject) -> int:
    """Replicas on CPU that work at the same time: on this machine no more than it has CPUs for."""
    replicas = subject.config.replicas
    if subject.cluster:
        return replicas.most
    return max(1, min(replicas.most, int(cpus() // replicas.cpus)))


def _documents(subject: Subject, sample: Sample | None) -> Estimate:
    """Documents to score, as uncertain as the tokens that they have."""
    left = subject.documents_left
    if sample is None:
        return Estimate(value=left, margin=0.0)
    per_document = sample.per_document(lambda piece: piece.network_tokens)
    if not per_document.value:
        return Estimate(value=left, margin=0.0)
    return per_document.times(left / per_document.value)


def _is_here(speed: Speed) -> bool:
    if speed.kind == "cpu":
        return speed.device in (processor.name(), "cpu")
    return any(nearest_type(gpu.name, [speed.device]) is not None for gpu in gpus())


def replaced_rates(texts: Sequence[str]) -> dict[str, float]:
    """``TYPE=DOCUMENTS_PER_S`` as a table.

    Raises:
        ConfigurationError: one is written otherwise.
    """
    found = {}
    for text in texts:
        name, separator, number = text.rpartition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = 0.0
        if not separator or not name.strip() or not 0 < rate < float("inf"):
            raise ConfigurationError(
                f"--gpu-rate {text!r}: expected TYPE=DOCUMENTS_PER_S of one GPU, e.g. L4=850"
            )
        found[name.strip()] = rate
    return found
