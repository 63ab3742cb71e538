"""Rates of counters over a window that ends with the last note."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.execution.live.rates import LONG_S, SHORT_S, Rates


def test_nothing_is_known_before_two_notes() -> None:
    rates = Rates()
    assert rates.per_s("a") == 0
    rates.note({"a": 5}, now=10)
    assert rates.per_s("a") == 0


def test_a_rate_is_of_its_window_alone() -> None:
    rates = Rates()
    for second in range(0, 101):  # ten a second for 60 s, then one a second
        rates.note({"a": min(second, 60) * 10 + max(second - 60, 0)}, now=second)
    assert rates.per_s("a") == pytest.approx(1)
    assert rates.per_s("a", LONG_S) == pytest.approx((600 + 40) / 100)


def test_a_window_that_is_not_full_yet_is_what_there_is() -> None:
    rates = Rates()
    rates.note({"a": 0}, now=0)
    rates.note({"a": 8}, now=4)
    assert rates.grown("a") == (8, 4)


def test_what_came_before_is_forgotten() -> None:
    rates = Rates()
    rates.note({"a": 0}, now=0)
    rates.forget()
    rates.note({"a": 0}, now=100)
    rates.note({"a": 10}, now=101)
    assert rates.per_s("a") == pytest.approx(10)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=200), st.sampled_from([SHORT_S, LONG_S]))
def test_a_steady_counter_has_one_rate_however_it_is_noted(
    gaps: list[float], window: float
) -> None:
    rates, now = Rates(), 0.0
    for gap in gaps:
        now += gap
        rates.note({"a": 3 * now}, now=now)
    assert rates.per_s("a", window) == pytest.approx(3)
