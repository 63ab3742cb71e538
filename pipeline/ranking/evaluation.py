"""Ranking quality of one run against judgements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.errors import InputContractError
from pipeline.ranking.measures import by_provider, parse_measures
from pipeline.ranking.runs import Run


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What :func:`evaluate` found; values are between 0 and 1, higher is better.

    Attributes:
        run: name of the run.
        measures: names as ir_measures writes them, in the order asked for.
        per_query: value by measure and query id; every judged query is there.
        means: mean over all judged queries, by measure.
        missing: judged queries for which the run has no document; each counts as 0 in the means.
        unjudged: number of the run's queries without judgements; they count nowhere.
        blank: number of its judged queries of whose documents none is judged.
        judged_at_10: mean share of judged documents among the first ten of its judged queries.
        judged: that share by query id, of the judged queries that the run holds.
    """

    run: str
    measures: tuple[str, ...]
    per_query: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    missing: tuple[str, ...]
    unjudged: int
    blank: int
    judged_at_10: float
    judged: Mapping[str, float] = field(default_factory=dict)

    @property
    def queries(self) -> int:
        """Number of judged queries, which the means are taken over."""
        return len(next(iter(self.per_query.values())))


def evaluate(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    measures: Sequence[str],
    *,
    others: int = 0,
) -> Evaluation:
    """Evaluate a run's order over all judged queries.

    A judged query that the run does not hold counts as 0, as ``trec_eval -c`` does it, and is
    named in the result; a query without relevant documents is judged and counts as 0; documents
    without judgement, or with a negative one, are not relevant. A negative judgement is none to
    trec_eval (and one to ``Judged``). The run's other queries are counted and left out.

    Args:
        run: what to evaluate.
        qrels: relevance by query id and document id.
        measures: names, see :func:`~pipeline.ranking.measures.parse_measures`.
        others: queries without judgements that were left out of ``run`` as it was read.

    Raises:
        ConfigurationError: see :func:`~pipeline.ranking.measures.parse_measures`.
        InputContractError: the run holds none of the judged queries: ids do not match.
    """
    parsed = parse_measures(measures)
    held = {query for query, ranking in run.rankings.items() if ranking}
    judged = sorted(held & qrels.keys())
    if not judged:
        raise InputContractError(
            f"run '{run.name}': none of its queries ({len(held):,}) is judged; expected query ids "
            f"as in the judgements (such as {min(qrels, default=None)!r}), found such as "
            f"{min(held, default=None)!r}"
        )
    per_query = {repr(measure): dict.fromkeys(sorted(qrels), 0.0) for measure in parsed}
    relevance, scores = _not_negative(qrels), run.scores(judged)
    for provider, supported in by_provider(parsed):
        given = qrels if provider.NAME == "judged" else relevance
        for metric in provider.iter_calc(supported, given, scores):
            per_query[repr(metric.measure)][metric.query_id] = float(metric.value)
    shares = {query: _judged_share(run.rankings[query], qrels[query]) for query in judged}
    return Evaluation(
        run=run.name,
        measures=tuple(per_query),
        per_query=per_query,
        means={name: mean(values) for name, values in per_query.items()},
        missing=tuple(sorted(qrels.keys() - held)),
        unjudged=len(held) - len(judged) + others,
        blank=sum(qrels[query].keys().isdisjoint(run.rankings[query]) for query in judged),
        judged_at_10=mean(shares),
        judged=shares,
    )


def _judged_share(ranking: Sequence[str], judged: Mapping[str, int]) -> float:
    """Of the first ten documents; of a list that is shorter, of all."""
    first = ranking[:10]
    return sum(document in judged for document in first) / len(first)


def _not_negative(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The judgements that trec_eval takes for judgements; queries without any are left out.

    To it a negative one is none: in Bpref, and in measures of judged documents alone, it counts
    otherwise than a 0. It reads them as well, but its nDCG never returns from some queries all of
    whose judgements are negative.
    """
    kept = {q: {doc: r for doc, r in docs.items() if r >= 0} for q, docs in qrels.items()}
    return {query: docs for query, docs in kept.items() if docs}


def mean(values: Mapping[str, float]) -> float:
    """Mean of the values of all queries, in whatever order they come."""
    return math.fsum(values.values()) / len(values)
