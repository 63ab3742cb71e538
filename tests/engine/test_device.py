"""Which precision runs where: asked for on the wrong device or processor it is refused by name."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext

import pytest
import torch

from pipeline.engine import processor
from pipeline.engine.device import check_precision, current, dtype_name, torch_dtype
from pipeline.errors import ConfigurationError
from pipeline.machine.nvidia import gpus

CPU = torch.device("cpu")


def has(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    """Let the processor have these instructions, and no others."""
    monkeypatch.setattr(processor, "_described", lambda: {"flags": " ".join(flags)})


def test_auto_is_bfloat16_on_gpus_and_float32_on_cpus() -> None:
    assert (dtype_name("auto", "cuda"), dtype_name("auto", "cpu")) == ("bfloat16", "float32")
    assert (torch_dtype("int8"), torch_dtype("float8")) == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(
    "precision, kind, advice",
    [("int8", "cuda", "take float8"), ("float8", "cpu", "take int8")],
)
def test_quantised_products_belong_to_a_device(precision: str, kind: str, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"engine\.dtype: {precision} is for .*{advice}"):
        dtype_name(precision, kind)


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_int8_needs_exact_sums(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    has(monkeypatch, "avx2", flag)
    check_precision("int8", CPU)
    has(monkeypatch, "avx2")
    with pytest.raises(ConfigurationError, match=r"int8 needs a processor with avx512_vnni, .*"):
        check_precision("int8", CPU)


def test_bfloat16_without_instructions_is_slow_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pipeline"):
        has(monkeypatch, "avx512_bf16")
        check_precision("bfloat16", CPU)
        assert caplog.text == ""
        has(monkeypatch, "avx2")
        check_precision("bfloat16", CPU)
    assert "engine.dtype: bfloat16 on" in caplog.text


def test_tests_that_are_not_for_a_gpu_see_none_on_any_machine() -> None:
    """Nor do the processes that they start: see ``tests/conftest.py``."""
    assert not torch.cuda.is_available()
    if gpus({}):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_kernels_are_launched_on_the_gpu_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext(device))
    with current(torch.device("cuda:1")) as entered:
        assert entered == torch.device("cuda:1")
    for other in ("cuda", "cpu"):  # the current one already
        with current(torch.device(other)) as entered:
            assert entered is None


def test_float8_needs_a_young_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A100")
    with pytest.raises(ConfigurationError, match=r"capability 8\.9 or later, and A100 has 8\.0"):
        check_precision("float8", torch.device("cuda"))
