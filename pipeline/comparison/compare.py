"""Several models on one sample: everything that ``rerank compare`` reports, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.bench.machine import load_average, machine, versions
from pipeline.comparison.loading import CheckedModel, LoadedModel
from pipeline.comparison.named import NamedModel
from pipeline.comparison.orders import FIRST_STAGE, Orders
from pipeline.comparison.quality import Quality, quality
from pipeline.comparison.sample import Sample, draw
from pipeline.comparison.scoring import Measured, score_all
from pipeline.comparison.warnings import warnings_of
from pipeline.config import JobConfig
from pipeline.engine.device import device_kind, use_threads
from pipeline.errors import ConfigurationError
from pipeline.execution.replicas.nodes import in_this_process
from pipeline.ranking.measures import parse_measures
from pipeline.ranking.others import Qrels
from pipeline.storage.policy import set_retry_policy


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is compared.

    Attributes:
        job: input, device, precision and threads; its model is not among the compared ones.
        models: at least one.
        sample: queries to draw.
        seed: that they are drawn with.
        qrels: relevance judgements; None: speed and agreement only.
        measures: names, where there are judgements.
        baseline: ``first_stage``, or one of the models as it was named.
        allow_code: modules outside this package that the user allows to be imported.
    """

    job: JobConfig
    models: Sequence[NamedModel]
    sample: int
    seed: int
    qrels: Qrels | None
    measures: Sequence[str]
    baseline: str = FIRST_STAGE
    allow_code: frozenset[str] = frozenset()


def compare_models(asked: Asked) -> dict[str, Any]:
    """Score a sample with every model, in this process, and say what came of it.

    What can be refused is refused before a network is loaded or a document is scored.

    Returns:
        Plain data, as ``docs/compare.md`` describes it.

    Raises:
        RerankError: whatever a run of one of the models would be refused for.
    """
    set_retry_policy(asked.job.storage)
    asked = replace(asked, job=in_this_process(asked.job))
    labels = [model.label for model in asked.models]
    if asked.baseline not in (FIRST_STAGE, *labels):
        raise ConfigurationError(
            f"--baseline {asked.baseline}: expected {FIRST_STAGE}, or one of the models as it is "
            f"named: {', '.join(labels)}"
        )
    if asked.qrels is not None:
        parse_measures(asked.measures)
    checked = [CheckedModel.of(model, asked.job, asked.allow_code) for model in asked.models]
    sample = draw(asked.job, count=asked.sample, seed=asked.seed, qrels=asked.qrels)
    if asked.qrels is not None:  # ids that do not match are noticed before anything is scored
        quality(Orders.of(sample.lists, {}), sample.query_ids, asked.qrels, asked.measures)
    if not all(model.reranker.numpy_only for model in checked):
        use_threads(asked.job.replicas.cpus)
    models = [model.loaded() for model in checked]
    load_before = load_average()
    shown, _ = sample.lists.scoreable()
    measured = score_all(models, shown)
    scores = {c.label: m.scores for c, m in zip(models, measured, strict=True)}
    orders = Orders.of(sample.lists, scores)
    found = None
    if asked.qrels is not None:
        found = quality(orders, sample.query_ids, asked.qrels, asked.measures)
    return _report(asked, sample, models, measured, orders, found, load_before)


def _report(
    asked: Asked, sample: Sample, models: Sequence[LoadedModel], measured: Sequence[Measured],
    orders: Orders, found: Quality | None, load_before: list[float],
) -> dict[str, Any]:  # fmt: skip
    device = device_kind(asked.job.replicas.gpus)
    pairs = _pairs(orders, found)
    orders_of = {} if found is None else {name: found.of(name) for name in orders.ranks}
    for name, described in orders_of.items():
        described["beside_baseline"] = _beside(pairs, asked.baseline, name)
    report: dict[str, Any] = {
        "input": {"path": list(asked.job.input.path)} | sample.described(),
        "device": device,
        "machine": machine(device),
        "versions": versions("scipy", "ir-measures"),
        "load_average": {"before": load_before, "after": load_average()},
        "baseline": asked.baseline,
        "measures": [] if found is None else list(found.measures),
        "judged_queries": 0 if found is None else found.queries,
        "queries_without_relevant": 0 if found is None else found.without_relevant,
        "unseen": [] if found is None else list(found.unseen),
        "first_stage": orders_of.get(FIRST_STAGE, {}),
        "models": [
            _described(model, one, measured[0]) | orders_of.get(model.label, {})
            for model, one in zip(models, measured, strict=True)
        ],
        "pairs": pairs,
    }
    return report | {"warnings": warnings_of(report)}


def _described(model: LoadedModel, measured: Measured, first: Measured) -> dict[str, Any]:
    """A model, what it gave, and what it took."""
    identity = asdict(model.identity)
    del identity["files"], identity["images"]
    wall = sum(cost.wall_s for cost in measured.costs)
    cpu = sum(cost.cpu_s for cost in measured.costs)
    documents, counted = sum(measured.documents), measured.counted
    return {
        "name": model.label,
        "model": identity,
        "documents": len(measured.scores),
        "cut": measured.cut,
        "not_scored": dict(sorted(Counter(code for code in measured.codes if code).items())),
        "load_s": model.load_s,
        "speed": {
            "documents_per_s": documents / wall,
            "least": min(measured.speeds),
            "most": max(measured.speeds),
            "times_the_first": measured.times_as_fast(first),
            "documents_per_cpu_s": documents / cpu if cpu else None,
            "network_documents_per_s": documents / counted.device_s if counted.device_s else None,
            "tokens_per_s": counted.tokens / wall,
            "tokens_per_document": counted.tokens / documents,
            "measured_s": wall,
            "encoding_s": measured.encoding.wall_s,
            "blocks": len(measured.costs),
        },
    }


def _pairs(orders: Orders, found: Quality | None) -> list[dict[str, Any]]:
    """Every two orders: how alike, and by how much the second is better."""
    names = list(orders.ranks)
    by_pair: dict[tuple[str, str], dict[str, Any]] = {}
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            alike = orders.agreement(first, second)
            by_pair[first, second] = {
                "first": first,
                "second": second,
                "agreement": asdict(alike),
                "measures": {},
            }
    for pair in () if found is None else found.pairs:
        values = asdict(pair.found)
        for name in ("measure", "baseline", "other", "biggest_wins", "biggest_losses"):
            del values[name]
        by_pair[pair.first, pair.second]["measures"][pair.found.measure] = values | {
            "interval": pair.interval,
            "p_holm": pair.p_holm,
        }
    return list(by_pair.values())


def _beside(pairs: Sequence[Mapping[str, Any]], baseline: str, name: str) -> dict[str, Any]:
    """By measure, an order less the baseline, whichever of them comes first in a pair.

    Nothing for the baseline itself, and where there are no judgements.
    """
    for pair in pairs:
        if (pair["first"], pair["second"]) == (baseline, name):
            return dict(pair["measures"])
        if (pair["second"], pair["first"]) == (baseline, name):
            return {measure: _turned(values) for measure, values in pair["measures"].items()}
    return {}


def _turned(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same comparison with the two orders in each other's place; p is two-sided."""
    interval = values["interval"]
    return {
        **values,
        "difference": -values["difference"],
        "interval": None if interval is None else (-interval[1], -interval[0]),
        "wins": values["losses"],
        "losses": values["wins"],
    }
