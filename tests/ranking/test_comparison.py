from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.errors import ConfigurationError
from pipeline.ranking.comparison import Comparison, bootstrap_interval, compare
from pipeline.ranking.evaluation import Evaluation


def evaluation(run: str = "x", **values: float) -> Evaluation:
    """An evaluation by one measure with these values per query."""
    mean = sum(values.values()) / len(values)
    return Evaluation(
        run=run,
        measures=("RR",),
        per_query={"RR": values},
        means={"RR": mean},
        missing=(),
        unjudged=0,
        blank=0,
        judged_at_10=1.0,
    )


def compared(before: list[float], after: list[float]) -> Comparison:
    """Comparison of two value lists; warnings are errors."""
    names = [f"q{i:03}" for i in range(len(before))]
    old = evaluation("old", **dict(zip(names, before, strict=True)))
    new = evaluation("new", **dict(zip(names, after, strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compare(old, new)


def test_comparison_by_hand() -> None:
    before = [0.5, 0.5, 0.5, 0.2, 0.9]
    after = [0.5 + 1e-12, 1.0, 0.6, 0.1, 0.4]
    result = compared(before, after)
    (row,) = result.measures
    assert (result.baseline, result.other, result.queries) == ("old", "new", 5)
    assert (row.wins, row.ties, row.losses) == (2, 1, 2)
    assert (row.baseline, row.other) == (pytest.approx(0.52), pytest.approx(0.52))
    assert row.difference == pytest.approx(0.0)
    assert [(each.query_id, each.before, each.after) for each in row.biggest_wins] == [
        ("q001", 0.5, 1.0),
        ("q002", 0.5, 0.6),
    ]
    assert [each.query_id for each in row.biggest_losses] == ["q004", "q003"]
    assert row.p_t_test == pytest.approx(1.0)
    assert row.p_randomization == pytest.approx(1.0)


def test_small_samples_are_enumerated() -> None:
    """Three gains: 2 of the 8 sign patterns are as extreme; ties leave that as it is."""
    assert compared([0, 0, 0], [0.1, 0.2, 0.3]).measures[0].p_randomization == 0.25
    assert compared([0, 0, 0, 0.5], [0.1, 0.2, 0.3, 0.5]).measures[0].p_randomization == 0.25


def test_p_values_are_those_of_scipy_and_do_not_change() -> None:
    chance = np.random.default_rng(5)
    before = chance.uniform(0, 0.8, 60)
    after = before + chance.normal(0.03, 0.1, 60)
    row = compared(list(before), list(after)).measures[0]
    assert row.p_t_test == pytest.approx(stats.ttest_rel(after, before).pvalue, rel=1e-9)
    paired = stats.permutation_test(
        (after, before),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=50_000,
        rng=1,
    )
    assert row.p_randomization == pytest.approx(paired.pvalue, abs=0.01)
    assert compared(list(before), list(after)).measures[0] == row


@pytest.mark.parametrize(
    ("before", "after", "t_test", "randomization"),
    [
        ([0.1], [0.2], None, None),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], 1.0, 1.0),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3 + 1e-10], 1.0, 1.0),
        ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], None, 0.25),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.4], pytest.approx(0.42265, abs=1e-5), 1.0),
    ],
)
def test_degenerate_differences_give_no_warning_and_no_nan(
    before: list[float], after: list[float], t_test: float | None, randomization: float | None
) -> None:
    row = compared(before, after).measures[0]
    assert row.p_t_test == t_test
    assert row.p_randomization == randomization


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_swapping_the_runs_swaps_wins_and_losses(pairs: list[tuple[float, float]]) -> None:
    before, after = [list(side) for side in zip(*pairs, strict=True)]
    there, back = compared(before, after).measures[0], compared(after, before).measures[0]
    assert there.wins + there.ties + there.losses == len(pairs)
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p_t_test == (None if back.p_t_test is None else pytest.approx(back.p_t_test))
    for p in (there.p_t_test, there.p_randomization):
        assert p is None or 0 <= p <= 1


def test_examples_are_limited() -> None:
    old = evaluation("old", **{f"q{i}": 0.0 for i in range(5)})
    new = evaluation("new", **{f"q{i}": 0.5 for i in range(5)})
    (row,) = compare(old, new, examples=2).measures
    assert [each.query_id for each in row.biggest_wins] == ["q0", "q1"]
    assert row.wins == 5
    assert row.biggest_losses == ()


def test_only_like_is_compared_with_like() -> None:
    with pytest.raises(ConfigurationError, match="'old' and 'new' were evaluated with different"):
        compare(evaluation("old", a=1.0), evaluation("new", b=1.0))


def test_the_bootstrap_interval_is_that_of_many_values_by_student_and_stays_within_few() -> None:
    values = np.random.default_rng(2).normal(0.4, 0.3, 900)
    low, high = bootstrap_interval(values.tolist()) or (0.0, 0.0)
    half = 1.96 * values.std(ddof=1) / 30
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.002)
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert bootstrap_interval([0.5]) is None
