"""Fits against what made the data, and what must hold of any calibration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.reading.loading import load_config
from pipeline.errors import ConfigurationError, InputContractError
from pipeline.ranking.calibration import (
    Calibration,
    Method,
    as_data,
    calibrated,
    fitted,
    quality,
)

METHODS: tuple[Method, ...] = ("temperature", "platt", "isotonic")


def fit(
    method: Method,
    scores: npt.NDArray[np.float64],
    relevant: npt.NDArray[np.bool_],
    **about: object,
) -> Calibration:
    given: dict[str, object] = {"score_scale": "logit", "model": "m", "grade": 1, **about}
    return fitted(method, scores, relevant, **given)  # type: ignore[arg-type]


def drawn(
    slope: float, intercept: float, *, pairs: int = 20_000
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Scores, and relevance by the sigmoid of a line through them."""
    draw = np.random.default_rng(3)
    scores = draw.normal(scale=2.0, size=pairs)
    return scores, draw.random(pairs) < 1 / (1 + np.exp(-(slope * scores + intercept)))


def test_platt_finds_the_line_that_made_the_judgements() -> None:
    found = fit("platt", *drawn(0.7, -1.0))
    assert found.slope == pytest.approx(0.7, abs=0.04)
    assert found.intercept == pytest.approx(-1.0, abs=0.06)


def test_temperature_finds_the_one_that_made_the_judgements() -> None:
    scores, relevant = drawn(0.4, 0.0)
    assert fit("temperature", scores, relevant).temperature == pytest.approx(2.5, abs=0.15)
    chances = 1 / (1 + np.exp(-scores))
    of_chances = fit("temperature", chances, relevant, score_scale="probability")
    assert of_chances.temperature == pytest.approx(2.5, abs=0.15)


def test_isotonic_finds_any_curve_that_ascends() -> None:
    draw = np.random.default_rng(5)
    scores = draw.random(40_000)
    relevant = draw.random(40_000) < np.where(scores < 0.6, 0.1, 0.8)
    found = calibrated(
        fit("isotonic", scores, relevant, score_scale="cosine"), np.array([0.3, 0.9])
    )
    assert found.tolist() == pytest.approx([0.1, 0.8], abs=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_calibrated_is_better_than_raw_on_pairs_that_were_not_fitted_to(method: Method) -> None:
    scores, relevant = drawn(0.3, -1.5)
    half = len(scores) // 2
    found = fit(method, scores[:half], relevant[:half])
    after = quality(calibrated(found, scores[half:]), relevant[half:])
    before = quality(1 / (1 + np.exp(-scores[half:])), relevant[half:])
    # A temperature cannot move the middle, but no worse than raw it is.
    assert after["log_loss"] < before["log_loss"]
    if method != "temperature":
        assert after["ece"] < 0.02 < before["ece"]
        assert after["brier"] < before["brier"]


@given(
    scores=st.lists(st.integers(-8, 8), min_size=40, max_size=60),
    method=st.sampled_from(METHODS),
    seed=st.integers(0, 5),
)
def test_the_order_stays_and_probabilities_are_some(
    scores: list[int], method: Method, seed: int
) -> None:
    values = np.array(scores, dtype=np.float64)
    noise = np.random.default_rng(seed).normal(size=len(values))
    relevant = values + 6 * noise > np.median(values)
    relevant[:10], relevant[10:20] = True, False
    try:
        found = fit(method, values, relevant)
    except InputContractError as error:
        assert method == "platt"
        assert "less often relevant" in str(error)
        return
    chances = calibrated(found, np.sort(values))
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (np.diff(chances) >= -1e-12).all()
    again = load_config(Calibration, dict(as_data(found)), source="file")
    np.testing.assert_array_equal(calibrated(again, values), calibrated(found, values))
    beyond = calibrated(found, np.array([-1e6, np.nan, 1e6]))
    assert np.isnan(beyond[1])
    assert np.isfinite(beyond[[0, 2]]).all()


def test_a_clean_split_has_no_endless_slope() -> None:
    scores = np.arange(40.0)
    found = fit("platt", scores, scores >= 20)
    assert found.slope is not None
    assert found.slope < 10


def test_equal_scores_get_the_base_rate() -> None:
    relevant = np.arange(40) < 10
    found = fit("isotonic", np.full(40, 2.5), relevant)
    assert calibrated(found, np.array([1.0, 2.5, 4.0])).tolist() == [0.25, 0.25, 0.25]


def test_quality_of_two_pairs_by_hand() -> None:
    found = quality(np.array([0.8, 0.4]), np.array([True, False]), bins=1)
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert found["brier"] == pytest.approx((0.04 + 0.16) / 2)
    assert found["ece"] == pytest.approx(abs(0.6 - 0.5))


def test_what_cannot_be_fitted_is_refused_with_the_reason() -> None:
    scores, relevant = drawn(1.0, 0.0, pairs=400)
    with pytest.raises(InputContractError, match=r"12 judged pairs .* at least 10 of either"):
        fit("platt", scores[:12], relevant[:12])
    with pytest.raises(InputContractError, match="less often relevant"):
        fit("platt", -scores, relevant)
    with pytest.raises(ConfigurationError, match="'cosine'; use platt or isotonic"):
        fit("temperature", scores, relevant, score_scale="cosine")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"slope": None}, "parameters"),
        ({"temperature": 2.0}, "parameters"),
        ({"slope": -1.0}, "greater than 0"),
        ({"method": "isotonic", "slope": None, "intercept": None,
          "points": [[1.0, 0.5], [0.0, 0.6]]}, "ascending"),
        ({"run": "x"}, "run"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(change: dict[str, object], said: str) -> None:
    data = dict(as_data(fit("platt", *drawn(1.0, 0.0, pairs=400)))) | change
    with pytest.raises(ConfigurationError, match=said):
        load_config(Calibration, data, source="calibration.json")
