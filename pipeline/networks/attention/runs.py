"""Attention by torch's own matrices: neighbouring sequences of equal length as one, on any device.

Exact everywhere, and what runs where no kernel for sequences side by side fits.
"""

from __future__ import annotations

from typing import Final

import torch
from torch.nn import functional

from pipeline.networks.attention.plan import Attended, Call, Window

#: Scores that exist at one time where attention is computed by rows; 256 MB of float32.
_SCORES: Final = 2**26

#: Rows of queries that are masked together where attention stays within a window.
_WINDOW_ROWS: Final = 256


def by_runs(call: Call) -> Attended:
    """Attention of the segments, each run of equal lengths as one matrix, on any device."""
    outs, sums = [], []
    for run in call.segments.runs:
        q = rows_of(call.query, run.query, run.count, run.queries)
        k, v = (rows_of(t, run.key, run.count, run.keys) for t in (call.key, call.value))
        if k.shape[1] < q.shape[1]:
            k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for t in (k, v))
        if call.sums:
            out, total = _with_sums(q, k, v, causal=call.window == (-1, 0), scale=call.scale)
            sums.append(total.transpose(1, 2).flatten(0, 1))
        else:
            out = _matrix(q, k, v, call.window, call.scale)
        outs.append(out.transpose(1, 2).flatten(0, 1))
    flat = outs[0] if len(outs) == 1 else torch.cat(outs)
    return flat.contiguous(), torch.cat(sums) if call.sums else None


def rows_of(flat: torch.Tensor, start: int, count: int, length: int) -> torch.Tensor:
    """[count, heads, length, dim]: some rows of a flat [T, heads, dim], as a view."""
    part = flat[start : start + count * length]
    return part.view(count, length, *flat.shape[1:]).transpose(1, 2)


def _matrix(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: Window, scale: float
) -> torch.Tensor:
    """[count, heads, queries, dim]."""
    length = key.shape[2]
    longest = max(length, query.shape[2])
    if query.shape[2] == 1 or window[0] >= longest - 1 or window[0] < 0:
        causal = window[1] == 0 and query.shape[2] > 1
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=causal, scale=scale
        )
    if query.shape[2] != length:
        raise NotImplementedError("a window over more queries than keys")
    places = torch.arange(length, device=query.device)
    blocks = []
    for start in range(0, length, _WINDOW_ROWS):
        stop = min(start + _WINDOW_ROWS, length)
        first, last = max(0, start - window[0]), min(length, stop + window[1])
        ahead = places[first:last] - places[start:stop, None]
        blocks.append(
            functional.scaled_dot_product_attention(
                query[:, :, start:stop],
                key[:, :, first:last],
                value[:, :, first:last],
                attn_mask=(ahead >= -window[0]) & (ahead <= window[1]),
                scale=scale,
            )
        )
    return torch.cat(blocks, dim=2)


def _with_sums(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, causal: bool, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """[count, heads, queries, dim], and the log-sum-exp of the scores [count, heads, queries]."""
    count, heads, queries, _ = query.shape
    keys = key.shape[2]
    if query.device.type == "cpu" and (queries == keys or not causal):
        # What scaled_dot_product_attention itself calls there, and keeps the sums of to itself.
        out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, scale=scale
        )
        return out, total
    rows = max(1, _SCORES // (count * heads * keys))
    outs, sums = [], []
    for start in range(0, queries, rows):
        part = query[:, :, start : start + rows]
        scores = (part @ key.transpose(2, 3)).float() * scale
        if causal:
            seen = torch.ones(part.shape[2], keys, dtype=torch.bool, device=query.device)
            scores.masked_fill_(~seen.tril(keys - queries + start), -torch.inf)
        total = scores.logsumexp(-1, keepdim=True)
        outs.append((scores - total).exp().to(value.dtype) @ value)
        sums.append(total.squeeze(-1))
    return torch.cat(outs, dim=2), torch.cat(sums, dim=2)
