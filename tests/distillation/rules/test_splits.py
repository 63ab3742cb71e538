from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation.rules.splits import choose_dev
from pipeline.distillation.rules.texts import mixed

CLUSTERS = st.lists(st.integers(0, 12), max_size=60)


def drawn(cluster_of: list[int], fraction: float, seed: int = 0) -> np.ndarray:
    keys = mixed(np.arange(len(cluster_of), dtype=np.uint64))
    clusters = np.array(cluster_of, dtype=np.int64)
    return choose_dev(clusters, keys, fraction=fraction, seed=seed)


@given(CLUSTERS, st.floats(0, 0.99), st.integers(0, 2**32))
def test_clusters_stay_whole_and_dev_is_never_too_large(
    cluster_of: list[int], fraction: float, seed: int
) -> None:
    dev = drawn(cluster_of, fraction, seed)
    for cluster in set(cluster_of):
        assert (
            len({bool(side) for side, c in zip(dev, cluster_of, strict=True) if c == cluster}) == 1
        )
    assert dev.sum() <= fraction * len(cluster_of) + 1e-9


@given(CLUSTERS, st.permutations(range(60)))
def test_the_order_of_queries_does_not_matter(cluster_of: list[int], order: list[int]) -> None:
    order = [i for i in order if i < len(cluster_of)]
    keys = mixed(np.arange(len(cluster_of), dtype=np.uint64))
    clusters = np.array(cluster_of, dtype=np.int64)
    plain = choose_dev(clusters, keys, fraction=0.3, seed=1)
    other = choose_dev(clusters[order], keys[order], fraction=0.3, seed=1)
    np.testing.assert_array_equal(other, plain[order])


def test_single_queries_fill_dev_exactly_and_the_seed_changes_which() -> None:
    alone = list(range(1000))
    assert drawn(alone, 0.1).sum() == 100
    assert (drawn(alone, 0.1, seed=1) != drawn(alone, 0.1, seed=2)).any()
    assert drawn(alone, 0.0).sum() == 0


def test_a_cluster_that_does_not_fit_leaves_room_for_others() -> None:
    dev = drawn([0] * 90 + list(range(1, 11)), 0.1)
    assert dev.sum() == 10
    assert not dev[:90].any()
