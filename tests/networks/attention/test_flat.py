"""Attention by plan against attention written out, over random lengths and shared beginnings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.networks import refusals
from pipeline.networks.attention import flat as attention
from pipeline.networks.attention import kernels as attention_kernels
from pipeline.networks.attention import runs as attention_runs
from pipeline.networks.attention.flat import attend
from pipeline.networks.attention.libraries import flash_2
from pipeline.networks.attention.plan import Call, Plan, Segments
from pipeline.networks.attention.runs import by_runs

HEADS, DIM = 4, 8


def offsets(lengths: list[int]) -> np.ndarray:
    return np.append(0, np.cumsum(lengths)).astype(np.int64)


def tensors(queries: int, keys: int, *, key_heads: int = HEADS, seed: int = 0) -> list:
    torch.manual_seed(seed)
    sizes = ((queries, HEADS), (keys, key_heads), (keys, key_heads))
    return [torch.randn(*size, DIM) for size in sizes]


def written_out(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, sees: torch.Tensor
) -> torch.Tensor:
    """Softmax over all tokens in float64, by a mask [Tq, Tk]."""
    groups = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(groups, dim=1).double() for t in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query.double(), key) * DIM**-0.5
    weights = scores.masked_fill(~sees, -torch.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, value).float()


def visible(lengths: list[int], *, causal: bool = False, window: int | None = None) -> torch.Tensor:
    place = torch.arange(sum(lengths))
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    sees = sequence[:, None] == sequence
    ahead = place - place[:, None]
    if causal:
        sees &= ahead <= 0
    if window is not None:
        sees &= ahead.abs() < window
    return sees


LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=7)


@settings(max_examples=60)
@given(LENGTHS, st.booleans(), st.sampled_from([1, 2, 4]), st.sampled_from([None, 1, 3, 40]))
def test_sequences_see_themselves(
    lengths: list[int], causal: bool, key_heads: int, window: int | None
) -> None:
    edges = offsets(lengths)
    query, key, value = tensors(sum(lengths), sum(lengths), key_heads=key_heads)
    plan = Plan(own=Segments(edges, edges), causal=causal)
    out = attend(query, key, value, plan, window=window)
    wanted = written_out(query, key, value, visible(lengths, causal=causal, window=window))
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)
    assert out.is_contiguous()


def test_a_window_wider_than_a_block_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_runs, "_WINDOW_ROWS", 5)
    lengths = [23, 23, 4]
    edges = offsets(lengths)
    query, key, value = tensors(50, 50)
    for causal in (False, True):
        plan = Plan(own=Segments(edges, edges), causal=causal)
        out = attend(query, key, value, plan, window=8)
        wanted = written_out(query, key, value, visible(lengths, causal=causal, window=8))
        torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)


FAMILIES = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.integers(1, 6), min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
)


def family_plan(families: list, alone: list[int]) -> tuple[Plan, torch.Tensor]:
    """Beginnings, their sequences, then sequences without one; and the mask written out."""
    roots = [root for root, _ in families]
    leaves = [leaf for _, group in families for leaf in group]
    lengths = [*roots, *leaves, *alone]
    edges = offsets(lengths)
    groups = len(roots) + offsets([len(group) for _, group in families])
    plan = Plan(
        own=Segments(edges, edges),
        causal=True,
        shared=Segments(edges[groups], edges[: len(roots) + 1]),
    )
    sees = visible(lengths, causal=True)
    for root in range(len(roots)):
        rows = slice(int(edges[groups[root]]), int(edges[groups[root + 1]]))
        sees[rows, edges[root] : edges[root + 1]] = True
    return plan, sees


@settings(max_examples=60)
@given(FAMILIES, st.lists(st.integers(1, 6), max_size=3), st.sampled_from([1, 4]))
def test_sequences_see_their_beginning_too(
    families: list, alone: list[int], key_heads: int
) -> None:
    plan, sees = family_plan(families, alone)
    query, key, value = tensors(len(sees), len(sees), key_heads=key_heads)
    out = attend(query, key, value, plan)
    torch.testing.assert_close(out, written_out(query, key, value, sees), atol=1e-5, rtol=0)


def test_scores_are_made_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, sees = family_plan([(7, [5, 5, 3]), (2, [6])], [4])
    query, key, value = tensors(len(sees), len(sees))
    monkeypatch.setattr(attention_runs, "_SCORES", 60)
    out = attend(query, key, value, plan)
    torch.testing.assert_close(out, written_out(query, key, value, sees), atol=1e-5, rtol=0)


def test_large_scores_do_not_overflow_where_two_parts_are_joined() -> None:
    plan, sees = family_plan([(7, [5, 3])], [])
    query, key, value = tensors(len(sees), len(sees))
    query, key = query * 40, key * 40
    out = attend(query, key, value, plan)
    torch.testing.assert_close(out, written_out(query, key, value, sees), atol=1e-4, rtol=0)


@settings(max_examples=40)
@given(LENGTHS, st.data())
def test_some_tokens_are_seen_by_nobody(lengths: list[int], data: st.DataObject) -> None:
    seen = [data.draw(st.integers(1, length)) for length in lengths]
    edges = offsets(lengths)
    rows = np.concatenate([edges[i] + np.arange(n) for i, n in enumerate(seen)])
    query, key, value = tensors(sum(lengths), sum(lengths))
    plan = Plan(own=Segments(edges, offsets(seen)), seen=torch.from_numpy(rows))
    sees = visible(lengths) & torch.isin(torch.arange(sum(lengths)), plan.seen)
    out = attend(query, key, value, plan)
    torch.testing.assert_close(out, written_out(query, key, value, sees), atol=1e-5, rtol=0)


def test_a_window_beside_tokens_that_nobody_sees() -> None:
    """Right where it holds the whole sequence, refused where places would have to be told apart."""
    query, key, value = tensors(19, 19)
    seen = torch.tensor([0, 1, *range(7, 19)])
    plan = Plan(own=Segments(offsets([7, 12]), offsets([2, 12])), seen=seen)
    sees = visible([7, 12], window=7) & torch.isin(torch.arange(19), seen)
    out = attend(query, key, value, plan, window=7)
    torch.testing.assert_close(out, written_out(query, key, value, sees), atol=1e-5, rtol=0)
    with pytest.raises(NotImplementedError, match="more queries than keys"):
        attend(query, key, value, plan, window=6)


def test_neighbours_of_equal_length_are_one_run() -> None:
    edges = offsets([9, 9, 9, 4, 9])
    runs = Segments(edges, edges).runs
    assert [(run.query, run.count, run.queries) for run in runs] == [
        (0, 3, 9),
        (27, 1, 4),
        (31, 1, 9),
    ]


def test_the_cuda_kernel_is_known_to_the_installed_torch() -> None:
    """Its arguments differ by version; where it is missing the other kernel takes over."""
    assert flash_2() is not None


def test_a_kernel_that_refuses_its_input_is_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(_: Call) -> tuple[torch.Tensor, None]:
        raise RuntimeError("head_size must be a multiple of 8")

    kernels = [by_runs, refusing, refusing]
    monkeypatch.setattr(attention, "kernel_for", lambda _: kernels.pop())
    monkeypatch.setattr(attention_kernels, "_REFUSED", set())
    monkeypatch.setattr(refusals, "_REFUSED", {})
    edges = offsets([5, 2])
    query, key, value = tensors(7, 7)
    out = attend(query, key, value, Plan(own=Segments(edges, edges)))
    torch.testing.assert_close(
        out, written_out(query, key, value, visible([5, 2])), atol=1e-5, rtol=0
    )
    assert caplog.text.count("head_size must be a multiple of 8") == 1
    ((what, why),) = refusals.refusals().items()
    assert what == "refusing for attention of float32 4/4 heads of 8, whole"
    assert why == "RuntimeError: head_size must be a multiple of 8"


def test_memory_that_runs_out_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of it is needed for half a batch, which the engine then tries."""

    def hungry(_: Call) -> tuple[torch.Tensor, None]:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")

    monkeypatch.setattr(attention, "kernel_for", lambda _: hungry)
    edges = offsets([5, 2])
    with pytest.raises(RuntimeError, match="ALLOC_FAILED"):
        attend(*tensors(7, 7), Plan(own=Segments(edges, edges)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("case", ["whole", "causal", "window", "single", "shared"])
def test_the_cuda_kernel_agrees(case: str, key_heads: int) -> None:
    kernel = flash_2()
    assert kernel is not None
    lengths = [130, 130, 64, 7, 7, 1]
    keys = offsets(lengths)
    queries = np.arange(len(lengths) + 1) if case == "single" else keys
    window = {"causal": (-1, 0), "shared": (-1, 0), "window": (9, 9)}.get(case, (-1, -1))
    tensor = tensors(int(queries[-1]), int(keys[-1]), key_heads=key_heads)
    query, key, value = (t.cuda().bfloat16() for t in tensor)
    segments = Segments(queries, keys)
    lse = case != "window"
    call = Call(
        query=query, key=key, value=value,
        segments=segments, window=window, scale=DIM**-0.5, sums=lse,
    )  # fmt: skip
    wide = {name: getattr(call, name).float() for name in ("query", "key", "value")}
    ours, theirs = by_runs(replace(call, **wide)), kernel(call)
    torch.testing.assert_close(theirs[0].float(), ours[0], atol=2e-2, rtol=2e-2)
    if lse:
        torch.testing.assert_close(theirs[1], ours[1], atol=1e-2, rtol=1e-2)
