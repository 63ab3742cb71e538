from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.rounds import paired, turns
from pipeline.bench.measuring import Spread


@given(st.integers(1, 6), st.integers(1, 9))
def test_everyone_goes_once_a_round_and_the_first_place_goes_round(count: int, rounds: int) -> None:
    names = [f"engine{i}" for i in range(count)]
    order = list(turns(names, rounds))
    for number in range(rounds):
        those = [name for at, name in order if at == number]
        assert sorted(those) == names
        assert those[0] == names[number % count]


def test_ratios_are_of_pairs_and_need_three() -> None:
    found = paired([1.0, 2.0, 4.0], [2.0, 2.0, 20.0])
    assert found == Spread(median=2.0, least=1.0, most=5.0)
    assert paired([1.0, 2.0], [2.0, 2.0]) is None
