"""What a GPU's kernels refuse: plain torch runs, it is told once, and counted with its reason."""

from __future__ import annotations

import logging

import pytest
import torch

from pipeline.networks import refusals
from pipeline.networks.refusals import out_of_memory, refused, unless_refused


@pytest.fixture(autouse=True)
def none_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_REFUSED", {})


def test_a_kernel_that_refuses_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def kernel() -> int:
        asked.append(1)
        raise ValueError("out of resource: shared memory\nrequired: 300000")

    with caplog.at_level(logging.WARNING, "pipeline"):
        found = [unless_refused("a kernel", kernel, lambda: 7, instead="sums") for _ in range(3)]
    assert (found, len(asked)) == ([7, 7, 7], 1)
    assert refusals.refusals() == {"a kernel": "ValueError: out of resource: shared memory"}
    assert [record.getMessage() for record in caplog.records] == [
        "a kernel is not used (ValueError: out of resource: shared memory); sums, with the same "
        "results and slower"
    ]


def test_a_kernel_that_takes_its_input_is_no_refusal() -> None:
    assert unless_refused("a kernel", lambda: 3, lambda: 7, instead="sums") == 3
    assert refusals.refusals() == {}


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")],
)
def test_memory_that_runs_out_is_for_the_engine(error: RuntimeError) -> None:
    def kernel() -> int:
        raise error

    with pytest.raises(type(error)):
        unless_refused("a kernel", kernel, lambda: 7, instead="sums")
    assert refusals.refusals() == {}
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access"))


def test_an_error_without_words_has_its_name() -> None:
    refused("a kernel", AssertionError(), instead="sums")
    assert refusals.refusals() == {"a kernel": "AssertionError: no message"}
