from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.checkpoints.cards import Example
from pipeline.engine.verification import verify
from pipeline.errors import ModelError


def scorer(values: dict[str, float]):
    def score(query: str, documents: Sequence[str | None]) -> npt.NDArray[np.float32]:
        return np.array([values[str(d)] for d in documents], dtype=np.float32)

    return score


def example(scale: str, scores: list[float]) -> Example:
    pairs = [("q", name) for name in "abc"[: len(scores)]]
    return Example.model_validate(
        {"source": "card", "scale": scale, "tolerance": 0.05, "pairs": pairs, "scores": scores}
    )


def test_logits_are_compared_as_they_are() -> None:
    checks = verify(example("logit", [1.0, 2.0]), scorer({"a": 1.04, "b": 2.06}), "logit")
    assert [check.passed for check in checks] == [True, False]
    assert checks[1].difference == pytest.approx(0.06, abs=1e-6)


def test_probabilities_are_compared_in_logits() -> None:
    published = 1 / (1 + np.exp(-5.0))
    close, far = 1 / (1 + np.exp(-5.04)), 1 / (1 + np.exp(-5.5))
    assert abs(far - published) < 0.003
    checks = verify(
        example("probability", [published, published]),
        scorer({"a": close, "b": far}),
        "probability",
    )
    assert [check.passed for check in checks] == [True, False]
    mixed = verify(example("probability", [published]), scorer({"a": 5.0}), "logit")
    assert mixed[0].passed
    assert mixed[0].ours == pytest.approx(published)


def test_saturated_and_missing_scores_fail() -> None:
    checks = verify(
        example("probability", [0.5, 0.5]), scorer({"a": 1.0, "b": float("nan")}), "probability"
    )
    assert not any(check.passed for check in checks)


def test_a_listwise_example_is_scored_as_one_list() -> None:
    seen: list[int] = []

    def score(query: str, documents: Sequence[str | None]) -> npt.NDArray[np.float32]:
        seen.append(len(documents))
        return np.array([0.29, -0.16], dtype=np.float32)

    pairs = [("q", "a"), ("q", "b")]
    given = {"source": "card", "scale": "cosine", "tolerance": 0.005, "pairs": pairs}
    listed = Example.model_validate(given | {"scores": [0.2926, -0.1702]})
    assert [check.passed for check in verify(listed, score, "cosine")] == [True, False]
    assert seen == [2]


def test_scores_on_another_scale_are_not_compared() -> None:
    stated = example("cosine", [0.5])
    with pytest.raises(ModelError, match=r"scale 'cosine'.*gives 'logit'"):
        verify(stated, scorer({"a": 0.5}), "logit")
    grades = verify(example("expected_grade", [2.5]), scorer({"a": 2.52}), "expected_grade")
    assert [check.passed for check in grades] == [True]


def test_the_extremes_of_a_logit_are_probabilities() -> None:
    checks = verify(example("probability", [0.5, 0.5]), scorer({"a": 1e3, "b": -1e3}), "logit")
    assert [check.ours for check in checks] == [1.0, 0.0]
    assert not any(check.passed for check in checks)
