"""Steps between products: bit for bit those of transformers' modules, one step at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.qwen3 import modeling_qwen3 as upstream

from pipeline.networks.pointwise import (
    add_rms_norm,
    norm_rotate_heads,
    rms_norm,
    rotate_heads,
    swiglu,
)

EPS = 1e-6
both = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def norm(weight: torch.Tensor) -> Any:
    module = upstream.Qwen3RMSNorm(len(weight), eps=EPS)
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    return module


def tables(tokens: int, dim: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    angles = torch.arange(tokens)[:, None] * 10.0 ** -torch.arange(dim / 2)
    return angles.cos().to(dtype), angles.sin().to(dtype)


@both
def test_norms(dtype: torch.dtype) -> None:
    added, states = 3 * drawn(7, 24, dtype=dtype), drawn(7, 24, dtype=dtype, seed=1)
    weight = drawn(24, dtype=dtype, seed=2)
    assert torch.equal(rms_norm(states, weight, EPS), norm(weight)(states))
    normed, total = add_rms_norm(added, states, weight, EPS)
    assert torch.equal(total, states + added)
    assert torch.equal(normed, norm(weight)(states + added))


@both
def test_swiglu(dtype: torch.dtype) -> None:
    gate, up = drawn(7, 20, dtype=dtype), drawn(7, 20, dtype=dtype, seed=1)
    wanted = torch.nn.functional.silu(gate) * up
    # How torch's silu rounds depends on where a number lies in memory.
    torch.testing.assert_close(swiglu(torch.cat((gate, up), dim=1)), wanted)


def turned(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """transformers' rotation of [T, heads, dim]; in half precision it rounds three times."""
    whole = (torch.cat((table, table), dim=-1)[None] for table in (cos, sin))
    batch = heads.transpose(0, 1)[None]
    return upstream.apply_rotary_pos_emb(batch, batch, *whole)[0][0].transpose(0, 1)


@both
def test_rotations(dtype: torch.dtype) -> None:
    """Of a part of a tensor, as the heads are of the product that they come from."""
    heads, (cos, sin) = drawn(9, 5, 8, dtype=dtype)[:, :3], tables(9, 8, dtype)
    wanted = turned(heads.float(), cos.float(), sin.float()).to(dtype)
    out = rotate_heads(heads, cos, sin)
    assert torch.equal(out, wanted)
    assert out.is_contiguous()
    rounded = {"atol": 2e-2, "rtol": 2e-2} if dtype == torch.bfloat16 else {"atol": 0, "rtol": 0}
    torch.testing.assert_close(out, turned(heads, cos, sin), **rounded)


@both
@pytest.mark.parametrize("queries", [0, 2, 3])
def test_queries_and_keys_have_norms_of_their_own(dtype: torch.dtype, queries: int) -> None:
    heads, (cos, sin) = drawn(9, 3, 8, dtype=dtype), tables(9, 8, dtype)
    weights = drawn(8, dtype=dtype, seed=1), drawn(8, dtype=dtype, seed=2)
    split = torch.split(heads, [queries, 3 - queries], dim=1)
    normed = [norm(weight)(part) for weight, part in zip(weights, split, strict=True)]
    wanted = rotate_heads(torch.cat(normed, dim=1), cos, sin)
    assert torch.equal(norm_rotate_heads(heads, cos, sin, *weights, EPS, queries), wanted)
