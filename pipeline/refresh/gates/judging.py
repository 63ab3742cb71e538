"""Every gate's figure beside its limit. Pure: of what was counted when two runs were compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.config.gates import GatesConfig
from pipeline.plurals import counted
from pipeline.ranking.evaluation import Evaluation

#: How many queries a gate names.
_NAMED: Final = 5


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate.

    Attributes:
        name: of its setting, such as ``min_overlap``.
        value: what was measured; None where there is nothing to measure, which passes, and where
            scores moved that had no deviation at all, which does not.
        limit: that of the configuration.
        passed: whether the value is within it.
        what: what the value is, in words.
        examples: what it is of, for people: queries with their values.
    """

    name: str
    value: float | None
    limit: float
    passed: bool
    what: str
    examples: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """What a publication says of it."""
        return {"value": self.value, "limit": self.limit, "passed": self.passed}

    def __str__(self) -> str:
        value = "nothing to compare" if self.value is None else f"{self.value:.4g}"
        sign = ">=" if self.name.startswith("min_") else "<="
        return f"{self.name}: {value} ({self.what}), where {sign} {self.limit:.4g} is wanted"


def judge(
    gates: GatesConfig,
    statistics: Mapping[str, Any],
    run: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    *,
    evaluation: Evaluation | None = None,
) -> tuple[GateResult, ...]:
    """Every gate that is on.

    Args:
        gates: the limits.
        statistics: of the changes, see :mod:`pipeline.refresh.changes.statistics`.
        run: manifest of the run that is to be published.
        before: that of the last publication's; None: there is none.
        evaluation: of the run on ``gates.qrels``; None: it holds none of the judged queries.
    """
    measured = {
        "min_query_coverage": _coverage(statistics),
        "max_quarantine_rate": _quarantined(run),
        "max_row_change": _row_change(run, before),
        "max_score_drift": _drift(statistics),
        "min_overlap": _overlap(statistics, gates.top_k),
        "min_ndcg": _ndcg(evaluation, gates.top_k),
    }
    return tuple(_results(gates, measured))


@dataclass(frozen=True, kw_only=True)
class _Measured:
    value: float | None
    what: str
    examples: tuple[str, ...] = ()
    #: Whether a value that cannot be given is past every limit.
    unbounded: bool = False


def _results(gates: GatesConfig, measured: Mapping[str, _Measured]) -> Iterator[GateResult]:
    for name, one in measured.items():
        limit = getattr(gates, name)
        if limit is None:
            continue
        if one.value is None:
            passed = not one.unbounded
        else:
            passed = one.value >= limit if name.startswith("min_") else one.value <= limit
        yield GateResult(
            name=name, value=one.value, limit=limit, passed=passed, what=one.what,
            examples=one.examples,
        )  # fmt: skip


def _coverage(statistics: Mapping[str, Any]) -> _Measured:
    queries = statistics["queries"]
    were, still = queries["before"], queries["common"]
    return _Measured(
        value=still / were if were else None,
        what=f"{still:,} of {were:,} queries of the last publication are there",
        examples=tuple(f"gone: {query}" for query in statistics["gone_queries"][:_NAMED]),
    )


def _quarantined(run: Mapping[str, Any]) -> _Measured:
    without, rows = run["quarantined"], run["documents"]
    codes = sorted(run["reasons"].items(), key=lambda item: (-item[1], item[0]))
    return _Measured(
        value=without / rows if rows else None,
        what=f"{without:,} of {rows:,} candidates have no score",
        examples=tuple(f"{code}: {count:,}" for code, count in codes[:_NAMED]),
    )


def _row_change(run: Mapping[str, Any], before: Mapping[str, Any] | None) -> _Measured:
    were, are = 0 if before is None else before["documents"], run["documents"]
    return _Measured(
        value=abs(are - were) / were if were else None,
        what=f"{counted(were, 'candidate')} became {are:,}",
    )


def _drift(statistics: Mapping[str, Any]) -> _Measured:
    scores = statistics["scores"]
    apart, spread = scores["mean_abs_difference"], scores["std_before"]
    if apart is None:
        return _Measured(value=None, what="no candidate has a score on both sides")
    return _Measured(
        value=scores["drift"],
        what=f"scores of {counted(scores['common'], 'candidate')} differ by {apart:.4g} on "
        f"average, where the standard deviation was {spread:.4g}",
        unbounded=True,
    )


def _overlap(statistics: Mapping[str, Any], depth: int) -> _Measured:
    found = statistics["overlap"][str(depth)]
    return _Measured(
        value=found["mean"],
        what=f"mean rank-biased overlap at {depth} of "
        f"{counted(statistics['queries']['common'], 'query')}",
        examples=tuple(
            f"{one['query_id']}: {one['overlap']:.3f}" for one in found["lowest"][:_NAMED]
        ),
    )


def _ndcg(evaluation: Evaluation | None, depth: int) -> _Measured:
    if evaluation is None:
        return _Measured(value=0.0, what="none of the judged queries is in the run")
    [values] = evaluation.per_query.values()
    [mean] = evaluation.means.values()
    lowest = sorted(values, key=lambda query: (values[query], query))[:_NAMED]
    missing = f", {len(evaluation.missing):,} of them not in the run" if evaluation.missing else ""
    return _Measured(
        value=mean,
        what=f"mean nDCG@{depth} of {counted(evaluation.queries, 'judged query')}{missing}",
        examples=tuple(f"{query}: {values[query]:.3f}" for query in lowest),
    )
