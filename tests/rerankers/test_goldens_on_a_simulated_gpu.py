"""Every family on a GPU that is simulated: its code for CUDA, with the numbers that it gives.

What cannot be seen without a card is seen on one, in ``test_goldens_on_gpu.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.api import load
from pipeline.bench.inputs.workloads import part
from pipeline.networks import refusals
from tests.rerankers.golden_work import FAMILIES, GOLDENS, golden_work
from tests.rerankers.test_goldens_on_gpu import BFLOAT16, BUDGET
from tests.support.simulated_gpu import NOT_HERE, simulated_gpu

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NOT_HERE is not None, reason=str(NOT_HERE))]

#: transformers' tower of Qwen3-VL asks the GPU for the sizes of its images.
WAITS = {"qwen3-vl-reranker-tiny"}

#: Of a golden: enough for sequences of several lengths and batches.
LISTS = 12


@pytest.mark.parametrize("name", FAMILIES)
def test_its_code_for_cuda_gives_upstreams_scores_and_never_waits(name: str) -> None:
    """Packed, in bfloat16, as a replica with a GPU runs it."""
    work = next(golden_work(name))
    lists = part(work.lists, 0, min(LISTS, len(work.lists)))
    with simulated_gpu() as gpu:
        model = load(
            GOLDENS / name, device="cuda", family=FAMILIES[name], token_budget=BUDGET,
            **work.settings,
        )  # fmt: skip
        assert model.engine.device.type == "cuda"
        gpu.waits.clear()
        scores = model.score_lists(lists)
        assert refusals.refusals() == {}
    apart = (scores - work.scores[: len(scores)]) / np.nanstd(work.scores)
    assert np.sqrt(np.nanmean(apart**2)) < BFLOAT16
    if name not in WAITS:
        assert gpu.waits == []


def test_a_tensor_of_the_host_is_refused_as_by_cuda() -> None:
    with simulated_gpu():
        there = torch.ones(3, device="cuda")
        with pytest.raises(RuntimeError, match="two devices, cuda:0 and cpu"):
            there + torch.ones(3)
        assert (there + torch.tensor(1.0)).cpu().tolist() == [2, 2, 2]


def test_what_is_read_before_anything_waited_is_not_there_yet() -> None:
    with simulated_gpu() as gpu:
        host = torch.zeros(3, pin_memory=True)
        host.copy_(torch.ones(3, device="cuda"), non_blocking=True)
        assert host.tolist() == [0, 0, 0]
        assert gpu.waits == []
        torch.cuda.synchronize()
        assert host.tolist() == [1, 1, 1]
