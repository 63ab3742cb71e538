"""Which attention kernel may run for what, and which of those that were timed is taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.networks import refusals
from pipeline.networks.attention import kernels as attention_kernels
from pipeline.networks.attention.kernels import CANDIDATES, Kind, fastest, kernel_for
from pipeline.networks.attention.plan import EVERYTHING, Call, Segments, Window
from pipeline.networks.attention.runs import by_runs

KIND = Kind(
    device=torch.device("cuda"),
    dtype=torch.bfloat16,
    heads=16,
    key_heads=8,
    dim=128,
    window=(-1, -1),
    sums=False,
    queries=9,
    keys=9,
)


def fitting(**changes: object) -> list[str]:
    kind = replace(KIND, **changes)  # type: ignore[arg-type]
    return [candidate.name for candidate in CANDIDATES if candidate.fits(kind)]


@pytest.mark.parametrize(
    "changes, names",
    [
        ({}, ["flash-2", "flash-4", "triton"]),
        ({"window": (-1, 0)}, ["flash-2", "flash-4"]),
        ({"window": (63, 63)}, ["flash-2", "flash-4"]),
        ({"sums": True}, ["flash-2", "flash-4"]),
        ({"dim": 32}, ["flash-2", "triton"]),
        ({"queries": 6, "keys": 6}, ["flash-2", "triton"]),
        # No multiple of eight: the two libraries refuse it.
        ({"dim": 26}, ["triton"]),
        ({"dim": 12, "window": (-1, 0)}, []),
        ({"dim": 512}, []),
    ],
)
def test_a_kernel_is_asked_for_what_it_can_take(changes: dict, names: list[str]) -> None:
    assert fitting(**changes) == names


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("window", [EVERYTHING, (-1, 0), (31, 31)])
@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("dim", [26, 32, 64, 96, 128, 256])
def test_every_kernel_that_may_be_taken_agrees(dim: int, sums: bool, window: Window) -> None:
    """Of a batch that is large enough for a trial; and so does the one that is chosen."""
    torch.manual_seed(3)
    lengths = np.concatenate([np.arange(1, 260), np.full(20, 7)])
    edges = np.append(0, np.cumsum(lengths)).astype(np.int64)
    parts = torch.randn(int(edges[-1]), 8, dim, device="cuda", dtype=torch.bfloat16)
    query, key, value = parts.split([4, 2, 2], dim=1)
    call = Call(
        query=query, key=key, value=value, segments=Segments(edges, edges),
        window=window, scale=dim**-0.5, sums=sums,
    )  # fmt: skip
    assert len(query) > attention_kernels._TRIAL
    if sums and window not in (EVERYTHING, (-1, 0)):
        pytest.skip("no network asks for sums within a window")
    wide = {name: getattr(call, name).float() for name in ("query", "key", "value")}
    wanted, wanted_sums = by_runs(replace(call, **wide))
    kind = attention_kernels._kind(call)
    able = [each for each in CANDIDATES if each.fits(kind) and each.load() is not None]
    for kernel in [*(each.load() for each in able), kernel_for(call)]:
        assert kernel is not None
        out, found_sums = kernel(call)
        torch.testing.assert_close(out.float(), wanted, atol=2e-2, rtol=2e-2)
        if sums:
            torch.testing.assert_close(found_sums, wanted_sums, atol=1e-2, rtol=1e-2)
    assert not [what for what in refusals.refusals() if f"heads of {dim}," in what]


def test_another_kernel_must_be_clearly_faster_than_the_first() -> None:
    assert fastest({"flash-2": 1.0, "triton": 0.97}) == "flash-2"
    assert fastest({"flash-2": 1.0, "flash-4": 0.9, "triton": 0.6}) == "triton"
    assert fastest({"triton": 2.0}) == "triton"


def test_everywhere_else_torchs_own_matrices_run() -> None:
    rows = torch.zeros(4, 2, 8)
    segments = Segments(*(torch.tensor([0, 4]).numpy() for _ in range(2)))
    call = Call(query=rows, key=rows, value=rows, segments=segments, window=EVERYTHING, scale=1.0)
    assert kernel_for(call) is by_runs


def test_a_kind_reads_as_words() -> None:
    assert str(KIND) == "bfloat16 16/8 heads of 128, whole, about 512 to 512 tokens"
