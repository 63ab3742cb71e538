"""Which fusion suits a run: found on some of its judged queries, and measured on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from pipeline import schema
from pipeline.config.fusion import FusionConfig
from pipeline.ranking.evaluation import Evaluation, evaluate
from pipeline.ranking.fusion import fused_ranks, fused_scores, lists_of
from pipeline.ranking.judged_pairs import of_queries
from pipeline.ranking.others import Qrels
from pipeline.ranking.runs import Run, first_stage_run, ranked_by, ranked_run
from pipeline.ranking.splits import split

#: Shares of the reranker and constants of reciprocal rank fusion that are tried.
WEIGHTS: Final = tuple(step / 10 for step in range(1, 10))
CONSTANTS: Final = (10.0, 60.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What was found.

    Attributes:
        fusion: the best on the queries that it was tuned on; None: the reranker or the first stage
            alone was better there than any.
        tuned_on: number of those queries.
        tried: mean of the measure on them by what was tried, best first.
        evaluations: of the other queries: the first stage, the reranker, the fusion where there is
            one.
    """

    fusion: FusionConfig | None
    tuned_on: int
    tried: tuple[tuple[str, float], ...]
    evaluations: tuple[Evaluation, ...]


def tune(
    table: pa.Table,
    qrels: Qrels,
    *,
    tuned_by: str,
    measures: tuple[str, ...],
    share: float = 0.5,
    seed: int = 0,
) -> Tuning:
    """Try every fusion on a share of the judged queries, and evaluate the best on the rest.

    Args:
        table: a run's ranked rows, by list and rank.
        qrels: relevance by query id and document id.
        tuned_by: the measure whose mean is made as high as possible.
        measures: evaluated on the rest.
        share: of the queries, to tune on.
        seed: draws them.

    Raises:
        InputContractError: too few judged queries.
        ConfigurationError: an unknown measure.
    """
    held = set(table.column(schema.QUERY_ID).cast(pa.string()).unique().to_pylist())
    parts = split((q for q in qrels if q in held), share=share, seed=seed)
    dev, test = ({q: qrels[q] for q in part} for part in parts)
    table = of_queries(table, [*dev, *test])
    first, reranked = first_stage_run(table, "first stage"), ranked_run(table, "reranked")
    alone = [(one.name, _mean(one, dev, tuned_by)) for one in (first, reranked)]
    means = [(config, _mean(fused_run(table, config), dev, tuned_by)) for config in grid(table)]
    best, mean = max(means, key=lambda pair: pair[1])  # the first of equals
    found = best if mean > max(value for _, value in alone) else None
    runs = [first, reranked] if found is None else [first, reranked, fused_run(table, found)]
    tried = sorted([*alone, *((described(c), m) for c, m in means)], key=lambda pair: -pair[1])
    return Tuning(
        fusion=found,
        tuned_on=len(dev),
        tried=tuple(tried),
        evaluations=tuple(evaluate(run, test, measures) for run in runs),
    )


def grid(table: pa.Table) -> list[FusionConfig]:
    """Every fusion that is tried: sums of scores only where the first stage gave scores."""
    ranks = [FusionConfig(method="rrf", weight=w, k=k) for w in WEIGHTS for k in CONSTANTS]
    scores = table.column(schema.FIRST_STAGE_SCORE)
    if scores.null_count == len(scores):
        return ranks
    return ranks + [FusionConfig(method="weighted", weight=w) for w in WEIGHTS]


def described(config: FusionConfig) -> str:
    """The fusion as ``output.fusion`` takes it."""
    k = f", k: {config.k:g}" if config.method == "rrf" else ""
    return f"{{method: {config.method}, weight: {config.weight:g}{k}}}"


def fused_run(table: pa.Table, config: FusionConfig) -> Run:
    """The order that a fusion gives a run's ranked rows."""
    lists = lists_of(table)
    ranks = pa.array(fused_ranks(lists, fused_scores(lists, config)), pa.int32())
    return ranked_by(table.append_column("fused", ranks), "fused", "fused")


def _mean(run: Run, qrels: Qrels, measure: str) -> float:
    [mean] = evaluate(run, qrels, (measure,)).means.values()
    return mean
