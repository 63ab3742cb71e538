"""Scores that are recorded are those that can be compared again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config import Settings
from pipeline.engine.own_cards import PAIRS, own_scores
from pipeline.engine.verification import verify
from pipeline.rerankers.lexical import Lexical


class Probable(Lexical):
    score_scale = "probability"


def scorer(values: Sequence[float]):
    rest = list(values)

    def score(query: str, documents: Sequence[str | None]) -> npt.NDArray[np.float32]:
        return np.array([rest.pop(0) for _ in documents], dtype=np.float32)

    return score


def test_probabilities_without_digits_left_are_left_out() -> None:
    values = [0.0, 1.0, 1 - 6e-8, 1e-30, 0.5, 0.999, float("nan")]
    assert len(values) == len(PAIRS)
    ranker = Probable(settings=Settings())
    example = own_scores(ranker, scorer(values), source="here")
    assert example is not None
    assert example.scores == pytest.approx([1e-30, 0.5, 0.999])
    assert example.tolerance < 0.2
    kept = [np.float32(value) for value in example.scores]
    assert all(check.passed for check in verify(example, scorer(kept), "probability"))


def test_a_family_that_scores_no_text_has_no_example() -> None:
    ranker = Lexical(settings=Settings())
    assert own_scores(ranker, scorer([float("nan")] * len(PAIRS)), source="here") is None
