"""Normalised and rotated heads, as one Triton kernel.

``torch.compile`` makes three of :func:`pipeline.networks.pointwise.norm_rotate_heads`, because the
rotation pairs the halves of a head and the norm runs over all of it: a seventh of the time of a
small decoder on an H100. Here a program holds both halves of its heads and reads them once.
"""

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl

#: Heads of a program: enough numbers for the threads of four warps.
_HEADS: Final = 16


@triton.jit
def _norm_rotate(
    heads,
    out,
    cos,
    sin,
    query_norm,
    key_norm,
    eps,
    count,
    token_stride,
    head_stride,
    queries: tl.constexpr,
    per_token: tl.constexpr,
    half: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
):
    """Some heads, counted through all tokens; ``half`` numbers turn with as many others."""
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    token, head = place // per_token, place % per_token
    lane = tl.arange(0, width)
    mask = (place < count)[:, None] & (lane < half)[None, :]
    start = token * token_stride + head * head_stride
    at = heads + start[:, None] + lane[None, :]
    first = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    second = tl.load(at + half, mask=mask, other=0.0).to(tl.float32)
    mean = (tl.sum(first * first, 1) + tl.sum(second * second, 1)) / (2 * half)
    scale = tl.rsqrt(mean + eps)[:, None]

    kind = heads.dtype.element_ty
    asks = (head < queries)[:, None]
    inside = (lane < half)[None, :]
    w_first = tl.where(
        asks,
        tl.load(query_norm + lane[None, :], mask=inside, other=0.0),
        tl.load(key_norm + lane[None, :], mask=inside, other=0.0),
    )
    w_second = tl.where(
        asks,
        tl.load(query_norm + half + lane[None, :], mask=inside, other=0.0),
        tl.load(key_norm + half + lane[None, :], mask=inside, other=0.0),
    )
    # Rounded where transformers' modules round.
    first = ((first * scale).to(kind) * w_first).to(kind).to(tl.float32)
    second = ((second * scale).to(kind) * w_second).to(kind).to(tl.float32)

    turn = token[:, None] * half + lane[None, :]
    c = tl.load(cos + turn, mask=mask, other=0.0).to(tl.float32)
    s = tl.load(sin + turn, mask=mask, other=0.0).to(tl.float32)
    to = out + place[:, None] * (2 * half) + lane[None, :]
    tl.store(to, (first * c - second * s).to(kind), mask=mask)
    tl.store(to + half, (second * c + first * s).to(kind), mask=mask)


def norm_rotate(
    heads: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    query_norm: torch.Tensor,
    key_norm: torch.Tensor,
    eps: float,
    queries: int,
) -> torch.Tensor:
    """As :func:`pipeline.networks.pointwise.norm_rotate_heads`.

    Args:
        heads: [T, heads, dim], queries before keys, dense in its last dimension.
        cos: [T, dim / 2], contiguous.
        sin: like ``cos``.
        query_norm: [dim], weights of the queries' norm.
        key_norm: [dim], of the keys'.
        eps: added to the mean square.
        queries: how many of the heads are queries.

    Returns:
        [T, heads, dim], contiguous.
    """
    tokens, per_token, dim = heads.shape
    out = torch.empty(heads.shape, dtype=heads.dtype, device=heads.device)
    count = tokens * per_token
    _norm_rotate[(triton.cdiv(count, _HEADS),)](
        heads,
        out,
        cos,
        sin,
        query_norm,
        key_norm,
        eps,
        count,
        *heads.stride()[:2],
        queries=queries,
        per_token=per_token,
        half=dim // 2,
        width=triton.next_power_of_2(dim // 2),
        block=_HEADS,
        num_warps=4,
    )
    return out
