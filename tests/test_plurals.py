"""One of a thing is not several."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.plurals import agreeing, counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "unit", "1 unit"),
        (0, "unit", "0 units"),
        (12_000, "judged query", "12,000 judged queries"),
        (1, "judged query", "1 judged query"),
        (2, "day", "2 days"),
        (3, "batch", "3 batches"),
        (1.0, "GPU", "1 GPU"),
        (0.5, "GPU", "0.5 GPUs"),
        (1_234_567.0, "token", "1,234,567 tokens"),
        (np.int64(1_234_567), "token", "1,234,567 tokens"),
    ],
)
def test_a_number_with_what_it_counts(number: float, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_a_verb_agrees_with_its_number() -> None:
    assert [agreeing(number, "are") for number in (0, 1, 2)] == ["are", "is", "are"]
    assert [agreeing(1, verb) for verb in ("hold", "have", "were")] == ["holds", "has", "was"]
