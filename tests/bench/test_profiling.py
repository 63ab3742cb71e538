from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.bench.options import BenchOptions
from pipeline.bench.preparing import prepare
from pipeline.bench.profiling import profile


def test_on_a_cpu_operators_are_told(cache: Path) -> None:
    found = profile(
        prepare(BenchOptions(cache=cache, scale="tiny", unit_documents=60)), documents=170
    )
    assert (found.units, found.documents) == (2, 150)  # units of two lists of 50 at most
    assert found.device is None
    assert profile(prepare(BenchOptions(cache=cache, scale="tiny")), documents=1).documents == 50
    names = [row.name for row in found.kernels]
    assert any(name.startswith(("aten::", "mkldnn::")) for name in names)
    assert 0 < found.kernel_s <= found.profiled_wall_s
    assert sum(row.share for row in found.kernels) == pytest.approx(1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_kernels_and_idle_time_are_told(cache: Path) -> None:
    options = BenchOptions(cache=cache, scale="tiny", device="cuda", unit_documents=60)
    found = profile(prepare(options), documents=200)
    assert (found.units, found.documents) == (2, 200)
    assert found.device is not None
    assert found.device.busy_s + found.device.idle_s == pytest.approx(found.device.window_s)
    assert 0 < found.kernel_s <= found.profiled_wall_s
    assert not any(row.name.startswith(("aten::", "cudaLaunch")) for row in found.kernels)
