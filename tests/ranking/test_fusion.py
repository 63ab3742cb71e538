"""Fusion against its formulas, document by document, and what must hold of any lists."""

from __future__ import annotations

import math
from statistics import fmean, pstdev

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import schema
from pipeline.config.fusion import FusionConfig
from pipeline.ranking.fusion import Ranked, fused_ranks, fused_scores, lists_of

Document = tuple[float | None, float | None]

numbers = st.one_of(st.none(), st.integers(-20, 20).map(lambda n: n / 4))
lists = st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=7), max_size=4)
fusions = st.builds(
    FusionConfig,
    method=st.sampled_from(["rrf", "weighted"]),
    weight=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    k=st.sampled_from([1.0, 60.0]),
)


def ranked_table(of: list[list[Document]]) -> pa.Table:
    """Rows as a run has them: by list and by the reranker's rank, candidates in the order given."""
    rows = []
    for number, documents in enumerate(of):
        order = sorted(
            range(len(documents)),
            key=lambda i: (documents[i][0] is None, -(documents[i][0] or 0.0), i),
        )
        for rank, i in enumerate(order, start=1):
            score, first = documents[i]
            rows.append((f"q{number}", f"d{i}", rank, score, i + 1, first))
    columns = zip(*rows, strict=True) if rows else ([], [], [], [], [], [])
    kinds = (pa.string(), pa.string(), pa.int32(), pa.float32(), pa.int32(), pa.float64())
    names = schema.RANKED_COLUMNS[:6]
    return pa.table({n: pa.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)})


def by_the_formula(rows: list[dict[str, float]], config: FusionConfig) -> list[float | None]:
    """One list's fused scores, one document after the other."""
    scored = [row for row in rows if row["score"] is not None]

    def standard(name: str) -> dict[int, float]:
        known = [row[name] for row in scored if row[name] is not None]
        spread = pstdev(known) if known else 0.0
        found = {
            row["rank"]: (row[name] - fmean(known)) / spread if spread else 0.0
            for row in scored
            if row[name] is not None
        }
        lowest = min(found.values(), default=0.0)
        return {row["rank"]: found.get(row["rank"], lowest) for row in scored}

    own, first, w = standard("score"), standard("first_stage_score"), config.weight
    fused: list[float | None] = []
    for row in rows:
        if row["score"] is None:
            fused.append(None)
        elif config.method == "rrf":
            fused.append(
                w / (config.k + row["rank"]) + (1 - w) / (config.k + row["first_stage_rank"])
            )
        else:
            fused.append(w * own[row["rank"]] + (1 - w) * first[row["rank"]])
    return fused


@given(of=lists, config=fusions)
def test_scores_are_those_of_the_formula(of: list[list[Document]], config: FusionConfig) -> None:
    table = ranked_table(of)
    fused = fused_scores(lists_of(table), config)
    rows = table.to_pylist()
    wanted = [
        value
        for number in range(len(of))
        for value in by_the_formula([r for r in rows if r["query_id"] == f"q{number}"], config)
    ]
    np.testing.assert_allclose(
        fused, np.array([math.nan if v is None else v for v in wanted]), atol=1e-9
    )


@given(of=lists, config=fusions)
def test_ranks_are_a_permutation_of_each_list_by_fused_score_then_rank(
    of: list[list[Document]], config: FusionConfig
) -> None:
    table = ranked_table(of)
    ranked = lists_of(table)
    fused = fused_scores(ranked, config)
    ranks = fused_ranks(ranked, fused)
    for number, documents in enumerate(of, start=1):
        of_list = np.flatnonzero(ranked.lists == number)
        order = of_list[np.argsort(ranks[of_list])]
        assert sorted(ranks[of_list]) == list(range(1, len(documents) + 1))
        keys = [(np.isnan(fused[i]), -np.nan_to_num(fused[i]), ranked.ranks[i]) for i in order]
        assert keys == sorted(keys)


def test_all_for_one_is_the_order_of_that_one() -> None:
    table = ranked_table([[(0.1, 3.0), (0.3, 2.0), (0.2, 1.0)]])
    ranked = lists_of(table)
    for method in ("rrf", "weighted"):
        own = FusionConfig(method=method, weight=1.0)
        first = FusionConfig(method=method, weight=0.0)
        assert fused_ranks(ranked, fused_scores(ranked, own)).tolist() == ranked.ranks.tolist()
        found = fused_ranks(ranked, fused_scores(ranked, first)).tolist()
        assert found == ranked.first_ranks.tolist()


def test_reciprocal_rank_fusion_orders_as_the_paper_does() -> None:
    """Both sums of 1 / (60 + rank), half of which is taken here."""
    table = ranked_table([[(0.1, None), (0.3, None), (0.2, None)]])
    ranked = lists_of(table)
    fused = fused_scores(ranked, FusionConfig(method="rrf"))
    wanted = [1 / 61 + 1 / 62, 1 / 62 + 1 / 63, 1 / 63 + 1 / 61]
    np.testing.assert_allclose(2 * fused, wanted)


def test_a_list_whose_scores_differ_by_rounding_alone_says_nothing() -> None:
    ranked = Ranked(
        lists=np.zeros(3, dtype=np.int64),
        scores=np.array([3.0, 2.0, 1.0]),
        ranks=np.array([1, 2, 3]),
        first_scores=np.array([0.1 + 0.2, 0.3, 0.3]),
        first_ranks=np.array([2, 1, 3]),
    )
    fused = fused_scores(ranked, FusionConfig(method="weighted", weight=0.5))
    np.testing.assert_allclose(fused, [0.612372, 0.0, -0.612372], atol=1e-6)


def test_what_is_not_finite_counts_as_the_lowest_of_its_list() -> None:
    table = ranked_table([[(2.0, math.inf), (1.0, 5.0), (0.0, 4.0)]])
    fused = fused_scores(lists_of(table), FusionConfig(method="weighted", weight=0.0))
    assert fused.tolist() == pytest.approx([-1.0, 1.0, -1.0])
