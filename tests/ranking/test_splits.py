"""Which judged queries are chosen on depends on their ids alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputContractError
from pipeline.ranking.splits import split

QUERIES = [f"q{i}" for i in range(400)]


@given(order=st.permutations(QUERIES[:60]), joined=st.integers(0, 60))
def test_a_query_stays_in_its_part_whatever_joins(order: list[str], joined: int) -> None:
    chosen, rest = split(QUERIES[:60], share=0.5, seed=0)
    more, others = split([*order, *QUERIES[60 : 60 + joined]], share=0.5, seed=0)
    assert set(chosen) <= set(more)
    assert set(rest) <= set(others)
    assert not set(more) & set(others)
    assert len(more) + len(others) == 60 + joined


def test_the_share_is_about_what_was_asked_for_and_the_seed_draws_others() -> None:
    chosen, rest = split(QUERIES, share=0.25, seed=0)
    assert 70 <= len(chosen) <= 130
    assert set(chosen) != set(split(QUERIES, share=0.25, seed=1)[0])
    assert [*sorted(chosen + rest)] == sorted(QUERIES)


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(InputContractError, match=r"8 judged queries .* at least 5 of either"):
        split(QUERIES[:8], share=0.5, seed=0)
