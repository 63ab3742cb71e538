"""Compiled pointwise functions give what the plain ones give, with one graph for any row count."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from pipeline.networks import fusing, pointwise, refusals
from pipeline.networks.attention import flat as attention
from pipeline.networks.encoders import pointwise as encoder_pointwise
from pipeline.networks.fusing import compilations, fused


def test_elsewhere_than_on_cuda_the_function_itself_runs() -> None:
    before = compilations()
    rows = torch.randn(4, 6)
    assert torch.equal(encoder_pointwise.geglu(rows), encoder_pointwise.geglu.__wrapped__(rows))
    assert compilations() == before


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions are compiled as on CUDA, but for the code that a compiler makes in the end."""
    monkeypatch.setattr(fusing, "applies", lambda rows: len(rows) > 1)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(refusals, "_REFUSED", {})


def normed(function: Callable[..., torch.Tensor], rows: torch.Tensor, before: torch.Tensor) -> None:
    weight, bias = torch.randn(rows.shape[1]), torch.randn(rows.shape[1])
    wanted = encoder_pointwise.add_layer_norm.__wrapped__(rows, before, weight, bias, 1e-5)
    torch.testing.assert_close(function(rows, before, weight, bias, 1e-5), wanted)


@pytest.mark.usefixtures("traced")
def test_many_networks_of_a_process_have_kernels_of_their_own() -> None:
    """Torch counts graphs by code, and after eight runs a function as it is written, in silence."""
    function = fused(encoder_pointwise.add_layer_norm.__wrapped__)
    before = compilations()
    with torch.inference_mode():
        for width in range(8, 8 * 13, 8):
            for count in (width, 3, 300):
                normed(function, torch.randn(count, width), torch.randn(count, width))
    assert compilations() == before + 12
    assert refusals.refusals() == {}


@pytest.mark.usefixtures("traced")
def test_no_number_of_rows_is_compiled_for_whatever_else_changes() -> None:
    """Neither where rows lie one beside the other, nor where torch itself is set in another way."""
    function = fused(encoder_pointwise.add_layer_norm.__wrapped__)
    counts = (5, 9, 13, 24, 77, 1_000, 1_001, 4_000)
    before = compilations()
    with torch.inference_mode():
        for count in counts:
            normed(function, torch.randn(count, 16), torch.randn(16, count).t())
    assert compilations() == before + 1
    with torch.no_grad():
        for count in counts:
            normed(function, torch.randn(count, 16), torch.randn(count, 16))
    assert compilations() == before + 2
    assert refusals.refusals() == {}


@pytest.mark.usefixtures("traced")
def test_a_function_that_is_compiled_again_and_again_is_given_up_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    function = fused(_by_size)
    for count in range(3, 60):
        rows = torch.ones(count, 2)
        assert torch.equal(function(rows), _by_size(rows))
    ((what, why),) = refusals.refusals().items()
    assert what == "the compiled _by_size of float32 rows of 2"
    assert why == "torch compiled it 5 times"
    assert caplog.text.count(what) == 1


def _by_size(rows: torch.Tensor) -> torch.Tensor:
    return rows + sum(len(rows) > size for size in range(0, 60, 6))


@pytest.mark.usefixtures("traced")
def test_what_cannot_be_compiled_runs_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> Callable[..., torch.Tensor]:
        def call(*_: object) -> torch.Tensor:
            raise NotImplementedError("no such card")

        return call

    monkeypatch.setattr(torch, "compile", refusing)
    function = fused(encoder_pointwise.geglu.__wrapped__)
    rows = torch.randn(4, 6)
    for _ in range(2):
        assert torch.equal(function(rows), encoder_pointwise.geglu.__wrapped__(rows))
    assert refusals.refusals() == {
        "the compiled geglu of float32 rows of 6": "NotImplementedError: no such card"
    }


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


def _drawn(*shape: int, device: str) -> torch.Tensor:
    return torch.randn(shape, device=device).bfloat16()


def _calls(rows: int, device: str) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Every compiled function with what a small network gives it."""
    wide, narrow = _drawn(rows, 64, device=device), _drawn(rows, 32, device=device)
    vector, heads = _drawn(64, device=device), _drawn(rows, 6, 16, device=device)
    tables = _drawn(rows, 8, device=device), _drawn(rows, 8, device=device)
    sums = torch.randn(6, rows, device=device).t()
    return {
        "add_layer_norm": (encoder_pointwise.add_layer_norm, (wide, wide, vector, vector, 1e-5)),
        "embedding_norm": (
            encoder_pointwise.embedding_norm, (wide, wide, wide, vector, vector, 1e-5)
        ),
        "encoder geglu": (encoder_pointwise.geglu, (wide,)),
        "reglu": (encoder_pointwise.reglu, (wide,)),
        "rms_norm": (pointwise.rms_norm, (wide, vector, 1e-6)),
        "add_rms_norm": (pointwise.add_rms_norm, (wide, wide, vector, 1e-6)),
        "rotate_heads": (pointwise.rotate_heads, (heads[:, :4], *tables)),
        "swiglu": (pointwise.swiglu, (narrow,)),
        "geglu": (pointwise.geglu, (narrow,)),
        "joined": (attention._joined, (heads, heads.flip(0), sums, sums.flip(0))),
    }  # fmt: skip


def assert_near(name: str, found: Any, wanted: Any) -> None:
    torch.testing.assert_close(
        found, wanted, atol=4e-2, rtol=2e-2, msg=lambda text: f"{name}: {text}"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_every_function_is_one_graph_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is rounded once, at the end, is the nearer one; so numbers near 3 differ by 0.02."""
    monkeypatch.setattr(refusals, "_REFUSED", {})
    with torch.inference_mode():
        for rows in (2, 64, 1_000, 70_000):
            before = compilations()
            for name, (function, given) in _calls(rows, "cuda").items():
                plain = function.__wrapped__  # type: ignore[attr-defined]
                assert_near(name, function(*given), plain(*given))
            assert rows == 2 or compilations() == before
    assert refusals.refusals() == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_more_numbers_than_32_bits_count_are_a_graph_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of half a million tokens of a decoder."""
    monkeypatch.setattr(refusals, "_REFUSED", {})
    rows, width = 400_000, 6_144
    if torch.cuda.mem_get_info()[0] < 24 << 30:
        pytest.skip("needs 24 GiB")
    with torch.inference_mode():
        few = torch.randn(1_000, width, device="cuda").bfloat16()
        many = few.repeat(rows // len(few), 1)
        assert many.numel() > 2**31
        for _ in range(2):
            wanted, found = pointwise.swiglu(few), pointwise.swiglu(many)
            assert_near("swiglu", found[-len(few) :], wanted)
    assert refusals.refusals() == {}
