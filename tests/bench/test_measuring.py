from __future__ import annotations

import time

import numpy as np
import torch

from pipeline.bench.measuring import Cost, memory


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
