"""Attention of encoders over sequences side by side, as one Triton kernel, with or without ALiBi.

FlashAttention (arXiv:2205.14135, arXiv:2307.08691) with two things that torch's own build lacks:
the symmetric ALiBi of JinaBERT (see :mod:`pipeline.networks.encoders.alibi`), which torch leaves
out, and blocks that fit short sequences and small heads, where most of a block of 128 rows is
empty.

A program of the kernel takes some neighbouring queries of one sequence and one head through all
keys of that sequence. Sums, maxima and the softmax are float32; products take their operands in the
precision of the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
import triton
import triton.language as tl

from pipeline.networks.attention.plan import Segments

#: Exponentials are taken to the base of two, which is what the hardware has.
_LOG2E: Final = 1.4426950408889634

#: Rows and columns of the smallest product that a tensor core takes.
_SMALLEST: Final = 16

#: Keys of sequences that count as short.
_SHORT: Final = 128


@triton.jit
def _attention(
    query,
    key,
    value,
    out,
    query_offsets,
    key_offsets,
    slopes,
    scale,
    query_stride,
    query_head,
    key_stride,
    key_head,
    value_stride,
    value_head,
    out_stride,
    out_head,
    blocks,
    group: tl.constexpr,
    dim: tl.constexpr,
    width: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    alibi: tl.constexpr,
):
    """One block of queries of one segment and head."""
    place, head = tl.program_id(0), tl.program_id(1)
    segment, first = place // blocks, (place % blocks) * rows
    q_start = tl.load(query_offsets + segment).to(tl.int64)
    queries = tl.load(query_offsets + segment + 1).to(tl.int64) - q_start
    if first >= queries:
        return
    k_start = tl.load(key_offsets + segment).to(tl.int64)
    keys = (tl.load(key_offsets + segment + 1).to(tl.int64) - k_start).to(tl.int32)

    row = first + tl.arange(0, rows)
    lane = tl.arange(0, width)
    column = tl.arange(0, columns)
    asked = (row[:, None] < queries) & (lane[None, :] < dim)
    at = query + (q_start + row[:, None]) * query_stride + head * query_head + lane[None, :]
    q = tl.load(at, mask=asked, other=0.0)
    k_from = key + k_start * key_stride + (head // group) * key_head
    v_from = value + k_start * value_stride + (head // group) * value_head

    slope = 0.0
    if alibi:
        slope = tl.load(slopes + head) * 1.4426950408889634  # log2(e); a kernel sees no globals
    total = tl.zeros([rows], dtype=tl.float32)
    highest = tl.full([rows], float("-inf"), dtype=tl.float32)
    mixed = tl.zeros([rows, width], dtype=tl.float32)
    for start in range(0, keys, columns):
        place_k = start + column
        inside = place_k < keys
        k = tl.load(
            k_from + place_k[None, :].to(tl.int64) * key_stride + lane[:, None],
            mask=inside[None, :] & (lane[:, None] < dim),
            other=0.0,
        )
        scores = tl.dot(q, k, input_precision="ieee") * scale
        if alibi:
            scores -= slope * tl.abs(row[:, None] - place_k[None, :]).to(tl.float32)
        scores = tl.where(inside[None, :], scores, float("-inf"))
        peak = tl.maximum(highest, tl.max(scores, 1))
        shares = tl.exp2(scores - peak[:, None])
        fade = tl.exp2(highest - peak)
        total = total * fade + tl.sum(shares, 1)
        v = tl.load(
            v_from + place_k[:, None].to(tl.int64) * value_stride + lane[None, :],
            mask=inside[:, None] & (lane[None, :] < dim),
            other=0.0,
        )
        mixed = mixed * fade[:, None]
        mixed = tl.dot(shares.to(v.dtype), v, mixed, input_precision="ieee")
        highest = peak
    mixed = mixed / total[:, None]
    to = out + (q_start + row[:, None]) * out_stride + head * out_head + lane[None, :]
    tl.store(to, mixed.to(out.dtype.element_ty), mask=asked)


def encoder_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    *,
    scale: float | None = None,
    slopes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of segments, each of which sees itself whole.

    Args:
        query: [Tq, heads, dim] of the segments, dense in its last dimension.
        key: [Tk, key heads, dim]; fewer heads than queries have are shared by groups of them.
        value: like ``key``.
        segments: which queries see which keys, all of both counted.
        scale: of the dot products; ``dim ** -0.5`` by default.
        slopes: float32 [heads] of ALiBi, which takes the n-th query and the n-th key of a segment
            for neighbours; None without.

    Returns:
        [Tq, heads, dim], contiguous.
    """
    heads, dim = query.shape[1:]
    scale = dim**-0.5 if scale is None else scale
    offsets = segments.offsets(query.device)
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    width = max(_SMALLEST, triton.next_power_of_2(dim))
    blocks = blocks_of(segments.longest_query, segments.longest_key, width)
    per_segment = triton.cdiv(segments.longest_query, blocks.rows)
    _attention[((len(offsets[0]) - 1) * per_segment, heads)](
        query,
        key,
        value,
        out,
        *offsets,
        query if slopes is None else slopes,
        scale * _LOG2E,
        *query.stride()[:2],
        *key.stride()[:2],
        *value.stride()[:2],
        *out.stride()[:2],
        per_segment,
        group=heads // key.shape[1],
        dim=dim,
        width=width,
        rows=blocks.rows,
        columns=blocks.columns,
        alibi=slopes is not None,
        num_warps=4,
        num_stages=3,
    )
    return out


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """How much a program of the kernel takes at a time.

    Attributes:
        rows: queries.
        columns: keys.
    """

    rows: int
    columns: int


def blocks_of(longest_query: int, longest_key: int, width: int) -> Blocks:
    """The sizes that were fastest on an H100, of twelve tried, for heads of 32 and 64.

    ======================= ========== ========================= ==========================
    tokens, heads of        best       TFLOP/s of it and others  FlashAttention-2 there
    ======================= ========== ========================= ==========================
    85, 32                  64 x 32    64; 46 to 59              38
    85, 64                  64 x 32    87; 62 to 81              70
    667 with ALiBi, 32      128 x 64   177; 89 to 164            143, without ALiBi
    ======================= ========== ========================= ==========================

    Wider heads take fewer keys at a time, so that everything stays in registers.
    """
    short = longest_key <= _SHORT
    rows = min(64 if short else 128, max(_SMALLEST, triton.next_power_of_2(longest_query)))
    columns = 32 if short or width > 64 else 64
    return Blocks(rows=rows, columns=columns)
