from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspection.distribution import distribution


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=200))
def test_a_histogram_holds_every_number_once(numbers: list[int]) -> None:
    values = np.array(numbers, dtype=np.int64)
    found = distribution(values)
    assert found is not None
    bins = found["histogram"]
    assert sum(count for *_, count in bins) == len(values)
    for low, high, count in bins:
        assert low <= high
        assert count == int(((values >= low) & (values <= high)).sum())
    assert all(left[1] < right[0] for left, right in pairwise(bins))
    assert len(bins) <= 16
    assert bins[0][2] and bins[-1][2]


def test_figures() -> None:
    found = distribution(np.array([0, 1, 1, 2, 100]))
    assert found is not None
    assert (found["count"], found["min"], found["median"], found["max"]) == (5, 0, 1.0, 100)
    assert found["histogram"] == [[0, 0, 1], [1, 1, 2], [2, 2, 1], [100, 100, 1]]
    assert distribution(np.array([], dtype=np.int64)) is None
