"""Our attention kernel, run by Triton's interpreter where there is no GPU, against plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.networks import refusals
from pipeline.networks.attention import triton_kernel as triton_attention
from pipeline.networks.attention.plan import EVERYTHING, Call, Segments
from pipeline.networks.attention.runs import by_runs
from pipeline.networks.attention.triton_kernel import encoder_attention
from pipeline.networks.encoders.alibi import PackedAlibi, TritonAlibi, slopes
from pipeline.networks.packed import Packed, pack
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

pytestmark = pytest.mark.gpu

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def tensors(queries: int, keys: int, *, heads: int, key_heads: int, dim: int) -> list:
    """Views of one tensor with everything side by side, as a joined product gives them."""
    torch.manual_seed(7)
    whole = torch.randn(max(queries, keys), heads + 2 * key_heads, dim, device=DEVICE)
    query, key, value = whole.split([heads, key_heads, key_heads], dim=1)
    return [query[:queries], key[:keys], value[:keys]]


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments, *,
          scale: float) -> torch.Tensor:  # fmt: skip
    return by_runs(
        Call(query=query, key=key, value=value, segments=segments, window=EVERYTHING, scale=scale)
    )[0]


@pytest.mark.parametrize("heads, key_heads, dim", [(2, 2, 32), (3, 1, 26), (2, 2, 64), (1, 1, 8)])
@pytest.mark.parametrize("lengths", [[5, 17, 1, 64], [140, 3], [1]])
def test_every_sequence_sees_itself(
    heads: int, key_heads: int, dim: int, lengths: list[int]
) -> None:
    edges = np.append(0, np.cumsum(lengths)).astype(np.int64)
    segments = Segments(edges, edges)
    parts = tensors(sum(lengths), sum(lengths), heads=heads, key_heads=key_heads, dim=dim)
    wanted = plain(*parts, segments, scale=0.3)
    got = encoder_attention(*parts, segments, scale=0.3)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    assert got.is_contiguous()


def test_half_precision_sums_in_float32() -> None:
    edges = np.array([0, 90, 200], dtype=np.int64)
    segments = Segments(edges, edges)
    parts = tensors(200, 200, heads=2, key_heads=2, dim=32)
    exact = plain(*parts, segments, scale=0.2)
    got = encoder_attention(*(part.half() for part in parts), segments, scale=0.2)
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), exact, atol=4e-3, rtol=4e-3)


def packed_of(lengths: list[int]) -> Packed:
    edges = np.append(0, np.cumsum(lengths)).astype(np.int64)
    unit = Sequences.one_readout_each(np.ones(edges[-1], dtype=np.int32), edges)
    batch = Batch(
        token_ids=unit.token_ids,
        offsets=edges,
        segment_ids=None,
        readout_positions=unit.readout_positions,
        readout_sequences=np.arange(len(lengths)),
        chosen=np.arange(len(lengths)),
        sequences=unit,
        device=DEVICE,
    )
    return pack(batch)


@pytest.mark.parametrize("lengths", [[140, 90, 90, 3, 1], [5], [33, 33]])
def test_alibi_is_that_of_the_matrix(lengths: list[int]) -> None:
    """Of all tokens, and of the first of each sequence, which alone the last layer asks."""
    packed = packed_of(lengths)
    costs = torch.tensor(slopes(3), device=DEVICE)
    query, key, value = tensors(sum(lengths), sum(lengths), heads=3, key_heads=3, dim=16)
    plain, ours = PackedAlibi(packed, costs, dtype=torch.float32), TritonAlibi(packed, costs)
    torch.testing.assert_close(
        ours.attend(query, key, value), plain.attend(query, key, value), atol=1e-5, rtol=0
    )
    first = plain.first(query)
    torch.testing.assert_close(
        ours.attend(first, key, value), plain.attend(first, key, value), atol=1e-5, rtol=0
    )


def test_without_the_kernel_alibi_is_that_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(triton_attention, "encoder_attention", refusing)
    monkeypatch.setattr(refusals, "_REFUSED", {})
    packed, costs = packed_of([9, 9, 4]), torch.tensor(slopes(3), device=DEVICE)
    query, key, value = tensors(22, 22, heads=3, key_heads=3, dim=16)
    plain, ours = PackedAlibi(packed, costs, dtype=torch.float32), TritonAlibi(packed, costs)
    assert torch.equal(ours.attend(query, key, value), plain.attend(query, key, value))
    assert refusals.refusals() == {
        "the Triton kernel for ALiBi with heads of 16": "RuntimeError: no kernel image is available"
    }
