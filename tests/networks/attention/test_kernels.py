"""Which attention kernel may run for what, and which of those that were timed is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.networks.attention.kernels import CANDIDATES, Kind, fastest, kernel_for
from pipeline.networks.attention.plan import EVERYTHING, Call, Segments
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
