from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation.rules.document_cap import assign
from pipeline.hashes import stable_hashes

REQUESTS = st.lists(st.permutations(range(8)).map(lambda p: p[: 1 + p[0] % 6]), max_size=12)


def granted(
    requests: list[list[int]],
    *,
    wanted: int,
    cap: int,
    seed: int = 0,
    names: list[int] | None = None,
) -> list[list[int]]:
    queries = stable_hashes(str(n) for n in (range(len(requests)) if names is None else names))
    documents = stable_hashes(str(d) for one in requests for d in one)
    offsets = np.cumsum([0, *(len(one) for one in requests)]).astype(np.int64)
    held = assign(offsets, documents, queries, wanted=wanted, cap=cap, seed=seed)
    return [
        [d for d, kept in zip(one, held[offsets[i] : offsets[i + 1]], strict=True) if kept]
        for i, one in enumerate(requests)
    ]


@given(REQUESTS, st.integers(1, 4), st.integers(1, 4))
def test_the_cap_holds_and_nobody_is_turned_away_without_cause(
    requests: list[list[int]], wanted: int, cap: int
) -> None:
    given_ = granted(requests, wanted=wanted, cap=cap)
    uses = Counter(d for one in given_ for d in one)
    assert all(n <= cap for n in uses.values())
    for asked, got in zip(requests, given_, strict=True):
        assert len(got) <= wanted
        if len(got) < wanted:
            # It asked to the end of its list: each document that it lacks is taken cap times.
            assert all(uses[d] == cap for d in asked if d not in got)


@given(REQUESTS, st.permutations(range(12)), st.integers(1, 3))
def test_the_order_of_queries_does_not_matter(
    requests: list[list[int]], order: list[int], cap: int
) -> None:
    order = [i for i in order if i < len(requests)]
    plain = granted(requests, wanted=3, cap=cap)
    other = granted([requests[i] for i in order], wanted=3, cap=cap, names=order)
    assert other == [plain[i] for i in order]


def test_without_contest_everyone_gets_the_first_wishes() -> None:
    assert granted([[1, 2, 3], [3, 4, 5]], wanted=2, cap=1) == [[1, 2], [3, 4]]


def test_who_is_turned_away_takes_the_next() -> None:
    both = granted([[1, 2], [1, 3]], wanted=1, cap=1)
    assert sorted(both) in ([[1], [3]], [[1], [2]])
    seeds = [granted([[1, 2], [1, 3]], wanted=1, cap=1, seed=s)[0] for s in range(20)]
    assert {tuple(one) for one in seeds} == {(1,), (2,)}
