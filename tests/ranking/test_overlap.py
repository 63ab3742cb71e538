"""Rank-biased overlap: published values, an oracle by the formula, and what must hold of any."""

from __future__ import annotations

import string
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ranking import overlap
from pipeline.ranking.overlap import rank_biased_overlap

LETTERS = string.ascii_lowercase


def overlaps(pairs: list[tuple[str, str]], depths: list[int], p: float = 0.9) -> list[list[float]]:
    met = [
        (query, before.index(document) + 1, after.index(document) + 1)
        for query, (before, after) in enumerate(pairs)
        for document in before
        if document in after
    ]
    queries, first, second = np.array(met, dtype=np.int64).reshape(-1, 3).T
    lengths = np.array([[len(one) for one in pair] for pair in pairs], dtype=np.int64).T
    found = rank_biased_overlap(
        (lengths[0], lengths[1]), queries, (first, second), depths=depths, persistence=p
    )
    rows: list[list[float]] = found.tolist()
    return rows


def by_the_formula(before: str, after: str, p: float, depth: int) -> float:
    """Equation 32, term by term, in exact arithmetic."""
    shorter, longer = sorted((before[:depth], after[:depth]), key=len)
    s, l = len(shorter), len(longer)  # noqa: E741
    q = Fraction(p)

    def shared(d: int) -> int:
        return len(set(shorter[:d]) & set(longer[:d]))

    seen = sum(Fraction(shared(d), d) * q**d for d in range(1, l + 1))
    tail = sum(Fraction(shared(s) * (d - s), s * d) * q**d for d in range(s + 1, l + 1))
    last = (Fraction(shared(l) - shared(s), l) + Fraction(shared(s), s)) * q**l
    return float((1 - q) / q * (seen + tail) + last)


# Values of the code of the paper's author, as the test data of github.com/mpetri/rbo have them: the
# alphabet, or as much of it as is given, against an order of letters.
@pytest.mark.parametrize(
    ("other", "p", "expected"),
    [
        ("jtnxyzovchmfldbksguqewari", 0.9, 0.256365),
        ("jtnxyzovchmfldbksguqewari", 0.99, 0.868989),
        ("agmtrsyhfidnjobwzkxvucqel", 0.9, 0.548749),
        ("agmtrsyhfidnjobwzkxvucqel", 0.5, 0.696746),
        ("achudyxfktsrzwbgqjenolivm", 0.9, 0.640332),
        ("zscendjrkobhmitlugywxvafq", 0.8, 0.267901),
    ],
)
def test_permutations_have_the_published_overlap(other: str, p: float, expected: float) -> None:
    [[value]] = overlaps([("".join(sorted(other)), other)], [25], p)
    assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("other", "p", "expected"),
    [
        ("karfvodcjmwgzlypebunq", 0.9, 0.468431),
        ("f", 0.9, 0.053090),
        ("zclx", 0.9, 0.233312),
        ("nxqyk", 0.9, 0.049050),
        ("av", 0.2, 0.9),
        ("aptkn", 0.2, 0.892587),
        ("afdqwtvehcpubinloygrs", 0.4, 0.782330),
    ],
)
def test_lists_of_two_lengths_have_the_published_overlap(
    other: str, p: float, expected: float
) -> None:
    [[one]] = overlaps([(LETTERS, other)], [26], p)
    assert one == pytest.approx(expected, abs=1e-6)
    assert overlaps([(other, LETTERS)], [26], p) == [[one]]


orders = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=10, unique=True).map("".join)
pairs = st.lists(st.tuples(orders, orders), min_size=1, max_size=5)


@given(pairs, st.sampled_from([0.1, 0.5, 0.9, 0.99]))
def test_it_is_the_formula_at_every_depth(given_pairs: list[tuple[str, str]], p: float) -> None:
    depths = [1, 2, 5, 20]
    for (before, after), row in zip(given_pairs, overlaps(given_pairs, depths, p), strict=True):
        expected = [by_the_formula(before, after, p, depth) for depth in depths]
        assert row == pytest.approx(expected, abs=1e-12)
        assert overlaps([(after, before)], depths, p) == [row]
        assert overlaps([(before, before)], depths, p) == [pytest.approx([1.0] * 4)]


def test_queries_are_taken_a_bounded_number_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(LETTERS[n : n + 9], LETTERS[n + 2 : n + 8]) for n in range(15)]
    whole = overlaps(many, [3, 10])
    monkeypatch.setattr(overlap, "_AT_ONCE", 20)
    assert overlaps(many, [3, 10]) == whole


def test_nothing_in_common_is_nothing() -> None:
    assert overlaps([("abc", "xyz")], [1, 10]) == [[0.0, 0.0]]
