"""Ranking quality against judgements, and whether two runs differ by more than chance.

Measures are those of ir_measures, computed by trec_eval; nDCG has linear gains (Järvelin and
Kekäläinen 2002). The tests are those of Smucker, Allan and Carterette, "A comparison of
statistical significance tests for information retrieval evaluation", CIKM 2007.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError, InputContractError
from pipeline.ranking.qrels import MAX_RELEVANCE
from pipeline.ranking.runs import Run

#: Differences up to this are ties: below what the order of a float sum can change.
TOLERANCE: Final = 1e-9
RESAMPLES: Final = 10_000
SEED: Final = 0

#: Measures of one ranking. The library has more, but those count, need Perl, or end the process
#: on a parameter that they do not like.
SUPPORTED: Final = ("nDCG", "RR", "AP", "R", "P", "Success", "Rprec", "Bpref", "Judged")
EXAMPLES: Final = "nDCG@10, RR@10, R@100, AP@100, RR(rel=2)@10"


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
    """

    run: str
    measures: tuple[str, ...]
    per_query: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    missing: tuple[str, ...]
    unjudged: int

    @property
    def queries(self) -> int:
        """Number of judged queries, which the means are taken over."""
        return len(next(iter(self.per_query.values())))


@dataclass(frozen=True, kw_only=True)
class QueryChange:
    """One query's value of a measure in the baseline and in the other run."""

    query_id: str
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class MeasureComparison:
    """One measure in two runs.

    Attributes:
        measure: its name.
        baseline: mean in the baseline.
        other: mean in the other run.
        difference: mean of ``other - baseline``.
        wins: queries that are better in the other run by more than :data:`TOLERANCE`.
        ties: queries that differ by no more than that.
        losses: queries that are worse in the other run.
        p_t_test: two-sided paired t-test; None where it is not defined (fewer than two queries, or
            every query changed by the same amount). 1 where no query changed.
        p_randomization: two-sided paired randomization test; None with fewer than two queries.
        biggest_wins: by change, then query id.
        biggest_losses: likewise.
    """

    measure: str
    baseline: float
    other: float
    difference: float
    wins: int
    ties: int
    losses: int
    p_t_test: float | None
    p_randomization: float | None
    biggest_wins: tuple[QueryChange, ...]
    biggest_losses: tuple[QueryChange, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs over the same judged queries: names, number of queries, one entry per measure."""

    baseline: str
    other: str
    queries: int
    measures: tuple[MeasureComparison, ...]


def parse_measures(names: Sequence[str]) -> list[Any]:
    """ir_measures' measures for names such as ``nDCG@10``, ``RR(rel=2)@10``, ``Recall@100``.

    Aliases become the library's name (``Recall@100`` is ``R@100``, ``MRR@10`` is ``RR@10``), and
    what is asked for twice comes once.

    Raises:
        ConfigurationError: no measure, an unknown or unsupported one, a wrong parameter, or
            ir_measures is not installed.
    """
    if not names:
        raise ConfigurationError(f"no measure given; examples: {EXAMPLES}")
    return list({repr(measure): measure for measure in map(_parse_measure, names)}.values())


def evaluate(
    run: Run, qrels: Mapping[str, Mapping[str, int]], measures: Sequence[str]
) -> Evaluation:
    """Evaluate a run's order over all judged queries.

    A judged query that the run does not hold counts as 0, as ``trec_eval -c`` does it, and is
    named in the result; a query without relevant documents is judged and counts as 0; documents
    without judgement, or with a negative one, are not relevant. The run's other queries are
    counted and left out.

    Args:
        run: what to evaluate.
        qrels: relevance by query id and document id.
        measures: names, see :func:`parse_measures`.

    Raises:
        ConfigurationError: see :func:`parse_measures`.
        InputContractError: the run holds none of the judged queries: ids do not match.
    """
    parsed = parse_measures(measures)
    held = {query for query, ranking in run.rankings.items() if ranking}
    judged = sorted(held & qrels.keys())
    if not judged:
        raise InputContractError(
            f"run '{run.name}': none of its {len(held)} queries is judged; expected query ids as "
            f"in the judgements (such as {min(qrels, default=None)!r}), found such as "
            f"{min(held, default=None)!r}"
        )
    per_query = {repr(measure): dict.fromkeys(sorted(qrels), 0.0) for measure in parsed}
    relevance, scores = _no_negatives(qrels), run.scores(judged)
    for provider, supported in _by_provider(parsed):
        for metric in provider.iter_calc(supported, relevance, scores):
            per_query[repr(metric.measure)][metric.query_id] = float(metric.value)
    return Evaluation(
        run=run.name,
        measures=tuple(per_query),
        per_query=per_query,
        means={name: _mean(values) for name, values in per_query.items()},
        missing=tuple(sorted(qrels.keys() - held)),
        unjudged=len(held) - len(judged),
    )


def compare(baseline: Evaluation, other: Evaluation, *, examples: int = 10) -> Comparison:
    """Compare two runs query by query.

    Args:
        baseline: what to compare with, usually the first stage.
        other: the new run.
        examples: how many of the biggest wins and losses to keep per measure.

    Raises:
        ConfigurationError: the two were evaluated with other measures or other judgements.
    """
    same = baseline.measures == other.measures and all(
        baseline.per_query[name].keys() == other.per_query[name].keys() for name in other.measures
    )
    if not same:
        raise ConfigurationError(
            f"runs '{baseline.run}' and '{other.run}' were evaluated with different measures or "
            "judgements; evaluate both with the same"
        )
    return Comparison(
        baseline=baseline.run,
        other=other.run,
        queries=other.queries,
        measures=tuple(_compare(name, baseline, other, examples) for name in other.measures),
    )


def _compare(
    name: str, baseline: Evaluation, other: Evaluation, examples: int
) -> MeasureComparison:
    before, after = baseline.per_query[name], other.per_query[name]
    change = {query: after[query] - before[query] for query in sorted(after)}
    change = {query: 0.0 if abs(d) <= TOLERANCE else d for query, d in change.items()}
    wins = sorted((q for q, d in change.items() if d > 0), key=lambda q: (-change[q], q))
    losses = sorted((q for q, d in change.items() if d < 0), key=lambda q: (change[q], q))

    def listed(queries: Sequence[str]) -> tuple[QueryChange, ...]:
        return tuple(
            QueryChange(query_id=query, before=before[query], after=after[query])
            for query in queries[:examples]
        )

    differences = np.array(list(change.values()))
    return MeasureComparison(
        measure=name,
        baseline=baseline.means[name],
        other=other.means[name],
        difference=_mean(change),
        wins=len(wins),
        ties=len(change) - len(wins) - len(losses),
        losses=len(losses),
        p_t_test=_p_t_test(differences),
        p_randomization=_p_randomization(differences),
        biggest_wins=listed(wins),
        biggest_losses=listed(losses),
    )


def _p_t_test(differences: npt.NDArray[np.float64]) -> float | None:
    if len(differences) < 2:
        return None
    if not differences.any():
        return 1.0
    if np.ptp(differences) <= TOLERANCE:
        return None
    return float(_import("scipy.stats").ttest_1samp(differences, 0.0).pvalue)


def _p_randomization(differences: npt.NDArray[np.float64]) -> float | None:
    """Share of sign flips whose mean is as extreme; queries that tie add nothing to any of them.

    Exact where there are at most :data:`RESAMPLES` flips, else that many are drawn, seeded.
    """
    if len(differences) < 2:
        return None
    changed = differences[differences != 0]
    if len(changed) < 2:
        return 1.0
    result = _import("scipy.stats").permutation_test(
        (changed,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 1_000_000 // len(changed)),  # 8 MB of draws at once
        rng=SEED,
    )
    return float(result.pvalue)


def _no_negatives(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The same judgements to trec_eval, whose nDCG never returns where all of a query's are < 0."""
    return {q: {doc: max(0, r) for doc, r in docs.items()} for q, docs in qrels.items() if docs}


def _mean(values: Mapping[str, float]) -> float:
    return math.fsum(values.values()) / len(values)


def _parse_measure(name: str) -> Any:
    hint = f"expected one of {', '.join(SUPPORTED)}, for example {EXAMPLES}"
    try:
        measure = _import("ir_measures").parse_measure(name.strip())
        wrong = _wrong_parameter(measure)
    except (ValueError, NameError, TypeError, KeyError, AssertionError) as error:
        raise ConfigurationError(
            f"measure '{name}' is unknown or lacks a parameter; {hint}"
        ) from error
    if wrong:
        raise ConfigurationError(f"measure '{name}': {wrong}; {hint}")
    return measure


def _wrong_parameter(measure: Any) -> str | None:
    """What trec_eval would not survive, or not compute; it aborts the process on a cutoff of 0."""
    if measure.NAME not in SUPPORTED:
        return "not supported"
    measure.validate_params()
    for key in ("cutoff", "rel"):
        value = measure.params.get(key, 1)
        if isinstance(value, bool) or not 1 <= value < 2**31:
            return f"{key} must be at least 1 and below 2**31"
    if any(not 0 <= gain <= MAX_RELEVANCE for gain in measure.params.get("gains", {}).values()):
        return f"gains must be from 0 to {MAX_RELEVANCE}"
    return None if _by_provider([measure]) else "these parameters are not supported"


def _by_provider(measures: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """Measures by who computes them: the first of trec_eval and two written in Python."""
    library = _import("ir_measures")
    providers = (library.pytrec_eval, library.judged, library.msmarco)
    first = {m: next((p for p in providers if p.supports(m)), None) for m in measures}
    found = [(p, [m for m in measures if first[m] is p]) for p in providers]
    return [(provider, supported) for provider, supported in found if supported]


def _import(module: str) -> Any:
    """A library of the ``eval`` extra; none of them is needed, or paid for, to rerank."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"evaluation needs {module.split('.')[0]}; install it: "
            "pip install 'rerank-pipeline[eval]'"
        ) from error
