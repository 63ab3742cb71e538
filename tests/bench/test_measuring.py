from __future__ import annotations

import time

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.benchmarking.measuring import Cost, Spread, memory, paired, turns
from pipeline.benchmarking.peaks import matmul_peak


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


def test_costs_add_up_also_when_the_block_raises() -> None:
    cost = Cost()
    for _ in range(2):
        try:
            with cost.adding():
                time.sleep(0.01)
                raise KeyError
        except KeyError:
            pass
    assert cost.wall_s >= 0.02
    assert 0 <= cost.cpu_s < cost.wall_s


def test_memory_sees_what_is_held_for_a_while() -> None:
    with memory(torch.device("cpu")) as before:
        pass
    with memory(torch.device("cpu")) as found:
        held = np.ones(2**25, dtype=np.float64)  # 256 MiB
        time.sleep(0.3)
        del held
    assert found.rss - before.rss > 200 * 2**20
    assert found.device == 0


def test_the_peak_is_that_of_a_matrix_product() -> None:
    peak = matmul_peak(torch.device("cpu"))
    # Between one multiply-add a nanosecond and more than any processor has.
    assert 1e9 < peak.per_second < 1e15
    assert 1e9 < peak.per_cpu_second < 1e15
