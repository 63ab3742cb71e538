"""Queries come by their first candidate, candidates as they were given, in every part."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.staging.clustering import cluster, cut, part_of

QUERIES = st.lists(st.one_of(st.none(), st.sampled_from("abcde")), max_size=40)


def rows_of(queries: list[str | None], reasons: list[str | None] | None = None) -> pa.Table:
    count = len(queries)
    return pa.table(
        {
            "query_id": pa.array(queries, pa.string()),
            "reason": pa.array(reasons or [None] * count, pa.string()),
            "_file": pa.array([place // 5 for place in range(count)], pa.int32()),
            "_row": pa.array([place % 5 for place in range(count)], pa.int64()),
            "_item": pa.array([0] * count, pa.int32()),
        }
    )


@given(QUERIES, st.randoms(use_true_random=False))
def test_queries_stand_together_in_the_order_given(
    queries: list[str | None], chance: random.Random
) -> None:
    mixed = list(range(len(queries)))
    chance.shuffle(mixed)
    order, starts = cluster(rows_of(queries).take(pa.array(mixed, pa.int64())))
    found = [mixed[place] for place in order.tolist()]
    named = [query for query in dict.fromkeys(queries) if query is not None]
    wanted = [
        place for query in [*named, None] for place, other in enumerate(queries) if other == query
    ]
    assert found == wanted
    firsts = [found[start] for start in starts[:-1].tolist()]
    assert [queries[place] for place in firsts] == [*named, *([None] if None in queries else [])]
    assert starts[-1] == len(queries)


def test_a_query_without_candidates_keeps_one_row_unless_it_has_some_elsewhere() -> None:
    queries: list[str | None] = ["a", "b", "a", "b", "c"]
    bare = "no_candidates"
    order, starts = cluster(rows_of(queries, [bare, bare, None, bare, bare]))
    assert order.tolist() == [2, 1, 4]
    assert starts.tolist() == [0, 1, 2, 3]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 40), st.integers(1, 5))
def test_cuts_fall_between_queries(lengths: list[int], target: int, size: int) -> None:
    starts = np.append(0, np.cumsum(lengths))
    sizes = np.full(int(starts[-1]), float(size))
    ranges = cut(starts, sizes, target)
    assert [lower for lower, _ in ranges] == [0, *(upper for _, upper in ranges[:-1])]
    assert ranges[-1][1] == starts[-1]
    edges = set(starts.tolist())
    for lower, upper in ranges:
        assert {lower, upper} <= edges
        whole = [edge for edge in edges if lower <= edge <= upper]
        assert (upper - lower) * size <= target or len(whole) == 2


@given(QUERIES, st.integers(1, 7))
def test_a_query_has_one_part(queries: list[str | None], parts: int) -> None:
    found = part_of(pa.array(queries, pa.string()), parts).tolist()
    assert all(0 <= part < parts for part in found)
    assert len(set(zip(queries, found, strict=True))) == len(set(queries))


def test_an_integer_and_its_text_share_a_part() -> None:
    ids = [7, 2**53 + 1, -3]
    texts = pa.array([str(one) for one in ids])
    assert part_of(pa.array(ids), 1000).tolist() == part_of(texts, 1000).tolist()
