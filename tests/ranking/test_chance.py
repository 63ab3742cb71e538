from __future__ import annotations

import random

from pipeline.ranking.chance import LEAST, by_chance
from pipeline.ranking.runs import Run

QUERIES = [f"q{number}" for number in range(LEAST)]


def test_own_judgements_are_better_than_those_of_others() -> None:
    lists = {query: [f"{query}-{rank}" for rank in range(10)] for query in QUERIES}
    found = by_chance([Run("x", lists)], {q: {docs[3]: 1} for q, docs in lists.items()}, "RR@10")
    assert found is not None
    assert (found.queries, found.own, found.swapped, found.alike) == (LEAST, 0.25, 0.0, False)


def test_judgements_of_another_collection_are_no_better() -> None:
    """Both number their documents from 1."""
    draw = random.Random(5)
    lists = {query: [str(n) for n in draw.sample(range(50), 20)] for query in QUERIES}
    other = {query: {str(draw.randrange(50)): 1 for _ in range(3)} for query in QUERIES}
    found = by_chance([Run("x", lists)], other, "nDCG@10")
    assert found is not None
    assert found.alike


def test_one_order_that_is_better_is_enough() -> None:
    best = {query: [query, *QUERIES] for query in QUERIES}
    lists = {query: list(dict.fromkeys(docs)) for query, docs in best.items()}
    worst = {query: docs[::-1] for query, docs in lists.items()}
    found = by_chance(
        [Run("first", worst), Run("best", lists)], {q: {q: 1} for q in QUERIES}, "RR@10"
    )
    assert found is not None
    assert (found.own, found.alike) == (1.0, False)


def test_of_few_queries_nothing_is_said() -> None:
    lists = {query: ["a"] for query in QUERIES[1:]}
    assert by_chance([Run("x", lists)], {q: {"a": 1} for q in QUERIES}, "RR") is None
