from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.device import DEFAULT_TOKEN_BUDGET
from pipeline.engine.memory import Trial, budget_for, fastest, settled, token_budget
from tests.engine.test_engine import Hungry


@given(st.integers(1, 10**6), st.integers(0, 10**9), st.integers(0, 2**38))
def test_the_budget_fits_what_the_trials_measured(per_token: int, constant: int, room: int) -> None:
    peaks = [constant + 4_096 * per_token, constant + 16_384 * per_token]
    budget = budget_for(peaks, room=room)
    assert 4_096 <= budget <= 524_288
    assert budget * per_token <= room or budget == 4_096


def test_trials_that_show_no_growth_give_the_default() -> None:
    assert budget_for([10, 10], room=10**9) == DEFAULT_TOKEN_BUDGET["cuda"]


#: Documents per second by 1,024 tokens: MiniLM-L6 on an H100, and a network that fills it early.
MINILM = {16: 27_500, 32: 46_800, 64: 64_700, 128: 100_600, 256: 96_800, 512: 90_800}
FLAT = {16: 1_000, 32: 1_010, 64: 1_005, 128: 1_012, 256: 1_003, 512: 1_001}


def trials(rates: dict[int, int]) -> list[Trial]:
    return [Trial(size * 1_024, size / rate) for size, rate in rates.items()]


def test_the_smallest_budget_that_is_as_fast_as_any_is_taken() -> None:
    assert fastest(trials(MINILM)) == 131_072
    assert fastest(trials(FLAT)) == 16_384


def test_larger_sizes_are_tried_only_while_they_gain() -> None:
    def tried(rates: dict[int, int]) -> int:
        all_of_them = trials(rates)
        return next(n for n in range(1, 7) if n == 6 or settled(all_of_them[:n]))

    assert tried(MINILM) == 6
    assert tried(FLAT) == 3
    assert not settled([])


@given(st.lists(st.floats(1e3, 1e7), min_size=1, max_size=6))
def test_the_choice_gives_up_a_few_percent_at_most(rates: list[float]) -> None:
    tried = [Trial(16_384 << place, (16_384 << place) / rate) for place, rate in enumerate(rates)]
    rate = {trial.tokens: trial.rate for trial in tried}
    chosen = fastest(tried)
    assert rate[chosen] >= 0.97 * max(rate.values())
    assert all(value < 0.97 * max(rate.values()) for size, value in rate.items() if size < chosen)


def test_on_cpu_nothing_is_tried() -> None:
    reranker = Hungry(10)
    budget = token_budget(reranker, torch.device("cpu"), memory_fraction=0.5)
    assert budget == DEFAULT_TOKEN_BUDGET["cpu"]
    assert reranker.calls == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_budget_fits_the_share_and_stays_where_nothing_is_gained() -> None:
    class Wide(Hungry):
        def forward(self, batch):
            held = torch.empty(len(batch.token_ids), 4_096, device=batch.device)
            return held[:1, :1]

    device = torch.device("cuda")
    small = token_budget(Wide(0), device, memory_fraction=0.05)
    large = token_budget(Wide(0), device, memory_fraction=0.85)
    whole = torch.cuda.mem_get_info(device)[1]
    assert 4_096 <= small <= max(4_096, 0.05 * whole / (4_096 * 4))
    assert 4_096 <= large <= 524_288
