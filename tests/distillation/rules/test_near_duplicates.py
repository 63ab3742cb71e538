from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation.rules import near_duplicates
from pipeline.distillation.rules.near_duplicates import Sets, clusters, similar_pairs

# Few elements and many sets of similar size, so that many pairs lie around every threshold.
SETS = st.lists(st.sets(st.integers(0, 14), max_size=12), max_size=25)
THRESHOLDS = st.sampled_from([0.2, 0.5, 0.6, 0.75, 0.8, 0.9, 1.0])


def packed(sets: list[set[int]]) -> Sets:
    flat = [element for one in sets for element in sorted(one, reverse=True)]
    offsets = np.cumsum([0, *(len(one) for one in sets)]).astype(np.int64)
    return Sets(offsets=offsets, elements=np.array(flat, dtype=np.uint32))


def found_pairs(sets: list[set[int]], threshold: float) -> dict[tuple[int, int], float]:
    return {
        (int(a), int(b)): float(value)
        for left, right, similarity in similar_pairs(packed(sets), threshold)
        for a, b, value in zip(left, right, similarity, strict=True)
    }


@given(SETS, THRESHOLDS)
def test_every_similar_pair_is_found_and_no_other(sets: list[set[int]], threshold: float) -> None:
    expected = {
        (i, j): len(a & b) / len(a | b)
        for i, a in enumerate(sets)
        for j, b in enumerate(sets)
        if i < j and a and b and len(a & b) >= threshold * len(a | b) - 1e-9
    }
    found = found_pairs(sets, threshold)
    assert set(found) == set(expected)
    assert all(found[pair] == pytest.approx(expected[pair]) for pair in found)


@given(SETS, THRESHOLDS)
def test_the_size_of_a_chunk_changes_nothing(sets: list[set[int]], threshold: float) -> None:
    whole = found_pairs(sets, threshold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_CHUNK", 3)
        assert found_pairs(sets, threshold) == whole


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_clusters_are_what_is_connected(pairs: list[tuple[int, int]]) -> None:
    left = np.array([a for a, _ in pairs], dtype=np.int64)
    right = np.array([b for _, b in pairs], dtype=np.int64)
    found = clusters(20, iter([(left, right)]))
    expected = list(range(20))
    for _ in range(20):
        for a, b in pairs:
            expected[a] = expected[b] = min(expected[a], expected[b])
    assert found.tolist() == expected
