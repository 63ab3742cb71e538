from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation.rules.teachers import (
    Moments,
    Scale,
    Teacher,
    combine,
    looked_up,
    refuse_mixed_scales,
    standardising,
)
from pipeline.errors import ConfigurationError, InputContractError

SCORES = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False), st.just(0.0), st.just(float("nan"))
)
NAN = math.nan


def teacher(name: str, scale: str) -> Teacher:
    return Teacher(
        name=name, revision="", digest="", licence="", score_scale=scale, run_id="0" * 16
    )


@given(st.lists(st.lists(st.floats(-1e6, 1e6), max_size=20), max_size=6))
def test_moments_of_parts_are_those_of_the_whole(parts: list[list[float]]) -> None:
    merged = Moments.merged([Moments.of(np.array(part)) for part in parts])
    values = np.array([value for part in parts for value in part])
    assert merged.count == len(values)
    if len(values):
        assert merged.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
        assert merged.deviation == pytest.approx(values.std(), rel=1e-6, abs=1e-4)
        assert (merged.low, merged.high) == (values.min(), values.max())


def test_standardised_scores_have_mean_0_and_spread_1() -> None:
    scores = np.array([3.0, -7.5, 100.0, NAN, 2.0])
    scaled = standardising(Moments.of(scores), "t").apply(scores)
    kept = scaled[~np.isnan(scaled)]
    assert len(kept) == 4
    assert kept.mean() == pytest.approx(0)
    assert kept.std() == pytest.approx(1)
    with pytest.raises(InputContractError, match="teacher t: its 3 scores have no spread"):
        standardising(Moments.of(np.full(3, 2.0)), "t")


@given(
    st.lists(st.tuples(st.integers(0, 3), SCORES, SCORES), max_size=25),
    st.sampled_from(["mean", "weighted", "rank_fusion"]),
    st.sampled_from(["all", "any"]),
)
def test_combination_is_what_its_formula_says(
    rows: list[tuple[int, float, float]], method: str, coverage: str
) -> None:
    rows.sort(key=lambda row: row[0])
    lists = [row[0] for row in rows]
    offsets = np.searchsorted(lists, np.arange(5))
    scores = np.array([[a for _, a, _ in rows], [b for _, _, b in rows]])
    scales = [Scale(multiplier=0.5, offset=1.0), Scale()]
    weights = [2.0, 1.0] if method != "mean" else [1.0, 1.0]
    found = combine(
        scores, offsets, method=method, scales=scales, weights=weights,
        coverage=coverage, rank_constant=60.0,
    )  # fmt: skip
    for i, (query, *given_) in enumerate(rows):
        have = [t for t in (0, 1) if not math.isnan(given_[t])]
        if len(have) < (2 if coverage == "all" else 1):
            assert math.isnan(found[i])
            continue
        if method == "rank_fusion":
            same = [row[1:] for row in rows if row[0] == query]
            ranks = [1 + sum(other[t] > given_[t] for other in same) for t in (0, 1)]
            expected = sum(weights[t] / (60 + ranks[t]) for t in have)
        else:
            scaled = [scales[t].multiplier * given_[t] + scales[t].offset for t in (0, 1)]
            expected = sum(weights[t] * scaled[t] for t in have) / sum(weights[t] for t in have)
        assert found[i] == pytest.approx(expected, rel=1e-5, abs=1e-30)


IDS = st.one_of(st.none(), st.sampled_from("abcd"))


@given(st.lists(st.tuples(IDS, IDS), max_size=12), st.lists(st.tuples(IDS, IDS), max_size=12))
def test_pairs_are_looked_up_as_in_a_dictionary(
    ours: list[tuple[str | None, str | None]], theirs: list[tuple[str | None, str | None]]
) -> None:
    first = {pair: i for i, pair in reversed(list(enumerate(theirs)))}
    expected = [-1 if None in pair else first.get(pair, -1) for pair in ours]
    columns = [
        pa.array([pair[k] for pair in side], pa.string()) for side in (ours, theirs) for k in (0, 1)
    ]
    assert looked_up(*columns).tolist() == expected


def test_raw_scores_of_different_scales_are_not_averaged() -> None:
    teachers = [teacher("bge", "logit"), teacher("minilm", "cosine")]
    message = r"raw cannot average.*bge \(logit\), minilm \(cosine\).*standardised"
    with pytest.raises(ConfigurationError, match=message):
        refuse_mixed_scales(teachers, "mean", "raw")
    refuse_mixed_scales(teachers, "rank_fusion", "raw")
    refuse_mixed_scales(teachers, "mean", "standardised")
    refuse_mixed_scales([teachers[0], teachers[0]], "mean", "raw")
