"""The pure halves of pairwise and listwise ranking: schedules, parsing, repair, standings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prompts import permutation, preference

COUNTS = st.integers(0, 40)


@given(count=COUNTS, size=st.integers(2, 12), data=st.data())
def test_windows_reach_from_the_back_to_the_front(
    count: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size - 1))
    found = permutation.windows(count, size=size, stride=stride)
    if count < 2:
        assert found == []
        return
    assert found[0][1] == count
    assert found[-1][0] == 0
    assert all(2 <= end - start <= size for start, end in found)
    for (start, end), (after, until) in itertools.pairwise(found):
        assert after < start < until < end  # moves to the front, and overlaps
        assert end - until == stride
    assert {place for start, end in found for place in range(start, end)} == set(range(count))


def test_windows_of_rankgpt() -> None:
    starts = [start for start, _ in permutation.windows(100, size=20, stride=10)]
    assert starts == [80, 70, 60, 50, 40, 30, 20, 10, 0]
    # Where the steps do not fit, the front is not left out.
    assert permutation.windows(25, size=20, stride=10) == [(5, 25), (0, 15)]


@given(order=st.permutations(list(range(9))))
def test_a_well_formed_answer_is_taken_as_it_is(order: list[int]) -> None:
    text = permutation.answer(tuple(order))
    found = permutation.repair(permutation.parse(text), len(order))
    assert found.order == tuple(order)
    assert not found.repaired


@given(text=st.text(alphabet="[] >0123456789,abc\n", max_size=60), count=st.integers(1, 25))
def test_any_answer_becomes_a_permutation(text: str, count: int) -> None:
    numbers = permutation.parse(text)
    found = permutation.repair(numbers, count)
    assert sorted(found.order) == list(range(count))
    assert found.repaired == (sorted(numbers) != list(range(1, count + 1)))


@pytest.mark.parametrize(
    ("text", "order", "repaired"),
    [
        ("[2] > [1] > [3]", (1, 0, 2), False),
        ("2 > 1 > 3", (1, 0, 2), False),
        ("The 3 best passages: [2] > [1] > [3].", (1, 0, 2), False),
        ("[ 2 ]>[1]>[3]", (1, 0, 2), False),
        ("[3]", (2, 0, 1), True),
        ("[3] > [3] > [1]", (2, 0, 1), True),
        ("[9] > [2] > [0] > [1] > [3]", (1, 0, 2), True),
        ("[3] > [2] > [1] > [3]", (2, 1, 0), True),
        ("[" + "9" * 6_000 + "] > [2]", (1, 0, 2), True),
        ("I cannot rank these.", (0, 1, 2), True),
        ("", (0, 1, 2), True),
    ],
)
def test_repair(text: str, order: tuple[int, ...], repaired: bool) -> None:
    found = permutation.repair(permutation.parse(text), 3)
    assert (found.order, found.repaired) == (order, repaired)


def test_identifiers_inside_a_passage_are_no_identifiers() -> None:
    assert permutation.without_identifiers("as [12] shows [a]") == "as (12) shows [a]"


# --- pairs -------------------------------------------------------------------------------------


@given(count=COUNTS)
def test_the_circle_asks_about_every_pair_once(count: int) -> None:
    rounds = [preference.circle(count, step) for step in range(count + 2)]
    pairs = [tuple(sorted(pair)) for found in rounds for pair in found.tolist()]
    assert sorted(pairs) == sorted(itertools.combinations(range(count), 2))
    sizes = [len(found) for found in rounds]
    assert all(size > 0 for size in sizes[: preference.circle_rounds(count)])
    assert not any(sizes[preference.circle_rounds(count) :])


def naive_bubbles(values: list[float], passes: int) -> list[int]:
    """Bubble passes one after the other."""
    order = list(range(len(values)))
    for nth in range(min(passes, len(values) - 1)):
        for upper in range(len(values) - 2, nth - 1, -1):
            if values[order[upper + 1]] > values[order[upper]]:
                order[upper], order[upper + 1] = order[upper + 1], order[upper]
    return order


@given(values=st.lists(st.floats(0, 1), max_size=20), passes=st.integers(1, 25))
def test_overlapped_bubble_passes_do_what_passes_in_turn_do(
    values: list[float], passes: int
) -> None:
    order = np.arange(len(values))
    most = min(passes, len(values) - 1)
    rounds = len(values) + most - 2 if most > 0 else 0
    for step in range(rounds + 3):
        upper = preference.sliding(len(values), passes, step)
        assert (len(upper) > 0) == (step < rounds)
        touched = np.concatenate([upper, upper + 1])
        assert len(set(touched.tolist())) == len(touched)
        for place in upper:
            if values[order[place + 1]] > values[order[place]]:
                order[[place, place + 1]] = order[[place + 1, place]]
    assert order.tolist() == naive_bubbles(values, passes)
    best = sorted(values, reverse=True)[:passes]
    assert [values[i] for i in order[:passes]] == best


def test_both_orders_cancel_a_favour_for_a_position() -> None:
    favour, liking = 3.0, 0.25
    log_odds = np.array([favour + liking, favour - liking], dtype=np.float32)
    assert preference.both_orders(log_odds).tolist() == pytest.approx([liking])


@given(value=st.floats(-200, 200, width=32))
def test_what_one_wins_the_other_does_not(value: float) -> None:
    both = np.array([value, -value], dtype=np.float32)
    for soft in (True, False):
        won = preference.win(both, soft=soft)
        assert won.sum() == pytest.approx(1, abs=1e-6)
        assert ((won >= 0) & (won <= 1)).all()


def test_hard_wins_know_ties_and_keep_nan() -> None:
    values = np.array([2.0, -2.0, 0.0, 1e-5, np.nan], dtype=np.float32)
    won = preference.win(values, soft=False)
    assert won[:4].tolist() == [1.0, 0.0, 0.5, 0.5]
    assert np.isnan(won[4])


def test_place_scores_fall_from_one() -> None:
    order, offsets = np.array([2, 0, 1, 3]), np.array([0, 3, 3, 4])
    scores = preference.place_scores(order, offsets)
    assert scores.tolist() == pytest.approx([2 / 3, 1 / 3, 1, 1])


def test_first_stage_order_is_by_rank_within_lists() -> None:
    order = preference.first_stage_order(np.array([3, 1, 2, 5, 4]), np.array([0, 3, 5]))
    assert order.tolist() == [1, 2, 0, 4, 3]
