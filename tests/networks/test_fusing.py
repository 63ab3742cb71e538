"""Compiled pointwise functions give what the plain ones give, with one graph for any row count."""

from __future__ import annotations

import shutil

import pytest
import torch

from pipeline.networks import encoder_pointwise, fusing
from pipeline.networks.fusing import compilations, fused


def test_elsewhere_than_on_cuda_the_function_itself_runs() -> None:
    before = compilations()
    rows = torch.randn(4, 6)
    assert torch.equal(encoder_pointwise.geglu(rows), encoder_pointwise.geglu.__wrapped__(rows))
    assert compilations() == before


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs g++: torch compiles for CPUs with it"
)
def test_one_kernel_serves_any_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA; the first number is also the width, which must not tie the two together."""
    monkeypatch.setattr(fusing, "applies", lambda rows: len(rows) > 1)
    function = fused(encoder_pointwise.add_layer_norm.__wrapped__)
    weight, bias = torch.randn(8), torch.randn(8)
    before = compilations()
    with torch.inference_mode():
        for count in (8, 3, 1, 300, 8):
            rows, residual = torch.randn(count, 8), torch.randn(count, 8)
            plain = function.__wrapped__(rows, residual, weight, bias, 1e-5)
            torch.testing.assert_close(
                function(rows, residual, weight, bias, 1e-5), plain, atol=1e-5, rtol=0
            )
        assert compilations() == before + 1
        for count in (9, 4, 70):  # numbers are constants of a kernel, rows are not
            rows, residual = torch.randn(count, 8), torch.randn(count, 8)
            function(rows, residual, weight, bias, 1e-12)
    assert compilations() == before + 2
