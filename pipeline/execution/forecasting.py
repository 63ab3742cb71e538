"""The forecast of a prepared run, and the refusal of one that would exceed its limits."""

from __future__ import annotations

import logging
from typing import Final

from pipeline.config import ReplicasConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ConfigurationError
from pipeline.execution.placement import Place
from pipeline.execution.preparation import Prepared
from pipeline.execution.spending import Spending, gpu_hours, hours_before, no_price, reached
from pipeline.forecast.forecast import Asked, Forecast, forecast
from pipeline.forecast.subject import Subject
from pipeline.pricing.devices import CPU

logger = logging.getLogger("pipeline")

#: Seconds of a run besides scoring, by where it is worked on: workers, the import of torch, a small
#: model from a local disk, the check and the publication. Measured on two quiet cores of a Zen 4
#: with all-MiniLM-L6-v2 (docs/cost.md); a large checkpoint or a cluster that grows takes longer,
#: a machine with more cores less.
STARTUP_S: Final[dict[Place, float]] = {"in_process": 4.0, "process": 6.0, "cluster": 18.0}


def forecast_of(prepared: Prepared, asked: Asked | None = None) -> Forecast:
    """What a prepared run will take, units that are committed already left out.

    Raises:
        ConfigurationError: see :func:`~pipeline.forecast.forecast.forecast`.
    """
    return forecast(subject_of(prepared), asked)


def subject_of(prepared: Prepared) -> Subject:
    """What a forecast of a prepared run is of."""
    config, plan, model = prepared.config, prepared.plan, prepared.model
    committed = set(prepared.folder.committed())
    todo = [unit for unit in plan.units if unit.name not in committed]
    return Subject(
        config=config,
        source=prepared.source,
        plan=plan,
        reranker=build_reranker(
            config.model, images=config.input.images, allow_code=prepared.allow_code
        ),
        dtype=model.dtype,
        digest=model.digest,
        model=model.name,
        licence=model.licence,
        reused=_reused(prepared),
        committed=sum(unit.documents for unit in plan.units if unit.name in committed),
        units_left=len(todo),
        cluster=prepared.nodes.cluster,
        startup_s=STARTUP_S[prepared.placed(todo).place] if todo else 0.0,
    )


def _reused(prepared: Prepared) -> float:
    """Share of the documents whose score is known from an earlier run."""
    if prepared.reuse is None:
        return 0.0
    counts = prepared.reuse.counts["documents"]
    today = counts["reuse"] + counts["rescore"] + counts["new"]
    return counts["reuse"] / today if today else 0.0


def refuse_over_limits(prepared: Prepared) -> None:
    """Refuse a run that would exceed ``limits`` even at the lowest estimate of what is left.

    Where nothing is known of the device's speed, the limits still stand while the run goes on.

    Raises:
        ConfigurationError: it would; says by how much.
    """
    limits = prepared.config.limits
    if limits.gpu_hours is None and limits.cost is None:
        return
    found = forecast_of(prepared)
    before = hours_before(prepared.folder)
    spending = Spending(prepared.placement.replicas, found.prices, before)
    why = reached(limits, spending, before)
    if why is not None:
        raise ConfigurationError(f"{why} in earlier sessions; raise it, or leave it out")
    if limits.cost is not None:
        _refuse_unpriced(found, prepared.config.replicas)
    spent_cost = (spending.cost(before) or (0.0, 0.0))[0]
    hours = [gpu_hours(before) + one.hours[0] for one in found.own if one.speed.kind == "cuda"]
    costs = [spent_cost + one.cost[0] for one in found.own if one.cost is not None]
    currency = f" {found.prices.currency}"
    for name, limit, lows, unit in (
        ("gpu_hours", limits.gpu_hours, hours, " GPU-hours"),
        ("cost", limits.cost, costs, currency),
    ):
        if limit is None:
            continue
        if name == "gpu_hours" and not prepared.config.replicas.num_gpus:
            logger.warning("limits.gpu_hours: says nothing of this run, whose replicas have no GPU")
        elif not lows:
            logger.warning(
                "limits.%s: nothing is known of what this run takes, so the limit is only watched "
                "while it runs; `rerank bench --record` measures this machine",
                name,
            )
        elif min(lows) > limit:
            raise ConfigurationError(
                f"limits.{name}: the run would take {min(lows):,.3g}{unit} at least, "
                f"{min(lows) / limit:,.2g} times the limit of {limit:g}{unit}; nothing was "
                "scored. See `rerank plan` for how that is counted; raise the limit, or set "
                "`limit` to fewer queries"
            )


def _refuse_unpriced(found: Forecast, replicas: ReplicasConfig) -> None:
    """Refuse ``limits.cost`` where what replicas will be on is known, and has no price.

    Which GPUs a cluster gives is not known.

    Raises:
        ConfigurationError: so it is; the run would be stopped as soon as its first replica is up.
    """
    here = [one.speed.device for one in found.own if one.here]
    devices = here if replicas.num_gpus else [CPU]
    if devices and all(found.prices.of(device) is None for device in devices):
        raise ConfigurationError(no_price(devices[0]))
