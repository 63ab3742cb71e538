from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.device import DEFAULT_TOKEN_BUDGET
from pipeline.engine.memory import budget_for, token_budget
from tests.engine.test_engine import Hungry


@given(st.integers(1, 10**6), st.integers(0, 10**9), st.integers(0, 2**38))
def test_the_budget_fits_what_the_trials_measured(per_token: int, constant: int, room: int) -> None:
    peaks = [constant + 4_096 * per_token, constant + 16_384 * per_token]
    budget = budget_for(peaks, room=room)
    assert 4_096 <= budget <= 524_288
    assert budget * per_token <= room or budget == 4_096


def test_trials_that_show_no_growth_give_the_default() -> None:
    assert budget_for([10, 10], room=10**9) == DEFAULT_TOKEN_BUDGET["cuda"]


def test_on_cpu_nothing_is_tried() -> None:
    reranker = Hungry(10)
    budget = token_budget(reranker, torch.device("cpu"), memory_fraction=0.5)
    assert budget == DEFAULT_TOKEN_BUDGET["cpu"]
    assert reranker.calls == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_budget_grows_with_the_share() -> None:
    class Wide(Hungry):
        def forward(self, batch):
            held = torch.empty(len(batch.token_ids), 4_096, device=batch.device)
            return held[:1, :1]

    device = torch.device("cuda")
    half = token_budget(Wide(0), device, memory_fraction=0.05)
    whole = token_budget(Wide(0), device, memory_fraction=0.10)
    assert half < whole
