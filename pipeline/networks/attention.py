"""Attention over sequences that stand one after the other in one flat tensor, without padding.

Which queries see which keys is a :class:`Plan`, made on the host. On CUDA in half precision a plan
is one call of ``torch.nn.attention.varlen``, and where sequences go on after a shared beginning a
second one to the beginning's keys, joined by their log-sum-exp, as "cascade" attention does
(flashinfer.ai/2024/02/02/cascade-inference.html; Milakov and Gimelshein, arXiv:1805.02867).
Everywhere else neighbouring sequences of equal length go through torch's own attention as a matrix.
Nothing here waits for the device.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int64s

logger = logging.getLogger("pipeline")

#: Scores that exist at one time where attention is computed by rows; 256 MB of float32.
_SCORES: Final = 2**26

#: Rows of queries that are masked together where attention stays within a window.
_WINDOW_ROWS: Final = 256

#: What the CUDA kernel computes in.
_HALF: Final = (torch.bfloat16, torch.float16)

#: How far a query sees to both sides, itself not counted; -1 is as far as there is.
Window = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Neighbouring segments of equal lengths, on both sides.

    Attributes:
        query: first query.
        key: first key.
        count: segments.
        queries: of each segment.
        keys: of each segment.
    """

    query: int
    key: int
    count: int
    queries: int
    keys: int


class Segments:
    """Consecutive queries and consecutive keys: the n-th segment of one sees that of the other.

    Attributes:
        query_rows: the queries, as a slice of the flat tensor.
        key_rows: the keys.
        runs: the segments, host side.
        longest_query: queries of the longest segment.
        longest_key: its keys.
    """

    def __init__(self, queries: Int64s, keys: Int64s) -> None:
        """Segments by their offsets, each int64 [n + 1]."""
        self.query_rows = slice(int(queries[0]), int(queries[-1]))
        self.key_rows = slice(int(keys[0]), int(keys[-1]))
        lengths = np.column_stack([np.diff(queries), np.diff(keys)])
        self.longest_query, self.longest_key = (int(n) for n in lengths.max(axis=0))
        changes = np.flatnonzero((np.diff(lengths, axis=0) != 0).any(axis=1)) + 1
        edges = [0, *changes.tolist(), len(lengths)]
        self.runs = tuple(
            Run(
                query=int(queries[first]),
                key=int(keys[first]),
                count=last - first,
                queries=int(lengths[first, 0]),
                keys=int(lengths[first, 1]),
            )
            for first, last in pairwise(edges)
        )
        self._host = np.concatenate([queries - queries[0], keys - keys[0]]).astype(np.int32)
        self._device: tuple[torch.Tensor, torch.Tensor] | None = None

    def offsets(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """int32 [n + 1] of queries and of keys, from 0, on the device; copied once."""
        if self._device is None:
            both = to_device(self._host, device)
            self._device = both[: len(both) // 2], both[len(both) // 2 :]
        return self._device


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who sees whom in one batch.

    Attributes:
        own: every sequence and itself.
        causal: whether a token sees only those before it and itself.
        shared: sequences and the beginnings that they go on after, seen whole; None without.
        seen: int64 [k], the tokens that anybody sees, which the segments count as keys; None for
            all tokens.
    """

    own: Segments
    causal: bool = False
    shared: Segments | None = None
    seen: torch.Tensor | None = None


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: Plan,
    *,
    scale: float | None = None,
    window: int | None = None,
) -> torch.Tensor:
    """Attention of a batch.

    Args:
        query: [Tq, heads, dim].
        key: [Tk, key heads, dim]; fewer heads than queries have are shared by groups of them.
        value: like ``key``.
        plan: who sees whom.
        scale: of the dot products; ``dim ** -0.5`` by default.
        window: tokens seen, itself included, to one side (causal) or to each.

    Returns:
        [Tq, heads, dim], contiguous.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    sides = _sides(plan, window)
    if plan.seen is not None:
        key, value = key[plan.seen], value[plan.seen]
    if plan.shared is None:
        return _kernel(query)(query, key, value, plan.own, sides, scale, False)[0]
    if sides[0] >= 0:
        raise NotImplementedError("a window that reaches into a shared beginning")
    out, own = _kernel(query)(query, key, value, plan.own, sides, scale, True)
    rows = plan.shared.query_rows
    seen, other = _kernel(query)(query, key, value, plan.shared, (-1, -1), scale, True)
    assert own is not None
    assert other is not None
    share = torch.sigmoid(own[rows] - other)[..., None]
    out[rows] = torch.lerp(seen.float(), out[rows].float(), share).to(out.dtype)
    return out


def _sides(plan: Plan, window: int | None) -> Window:
    if window is None:
        return (-1, 0) if plan.causal else (-1, -1)
    return (window - 1, 0) if plan.causal else (window - 1, window - 1)


Attended = tuple[torch.Tensor, torch.Tensor | None]
Kernel = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, Segments, Window, float, bool], Attended
]


def _kernel(query: torch.Tensor) -> Kernel:
    if query.is_cuda and query.dtype in _HALF:
        return varlen() or by_runs
    return by_runs


@functools.cache
def varlen() -> Kernel | None:
    """FlashAttention as stock torch has it since 2.11; None, with a word in the log, before."""
    try:
        from torch.nn.attention.varlen import AuxRequest, varlen_attn
    except ImportError:
        parameters: frozenset[str] = frozenset()
    else:
        parameters = frozenset(inspect.signature(varlen_attn).parameters)
    if not {"scale", "window_size", "return_aux"} <= parameters:
        logger.warning(
            "torch %s has no torch.nn.attention.varlen with windows; attention runs by groups of "
            "equal length, which is exact and slower. Install torch 2.11 or later",
            torch.__version__,
        )
        return None
    # The kernel itself takes fewer key heads in every version; newer ones want to hear of it.
    grouped: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in parameters else {}

    def run(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        segments: Segments,
        window: Window,
        scale: float,
        lse: bool,
    ) -> Attended:
        queries, keys = segments.offsets(query.device)
        result: Any = varlen_attn(
            query[segments.query_rows],
            key[segments.key_rows],
            value[segments.key_rows],
            queries,
            keys,
            # With 1 the kernel regroups heads, and its log-sum-exp is no longer that of the heads.
            max(2, segments.longest_query),
            segments.longest_key,
            return_aux=AuxRequest(lse=True) if lse else None,
            scale=scale,
            window_size=window,
            **grouped,
        )
        # The log-sum-exp comes as [heads, Tq], whatever the documentation says.
        return (result[0], result[1].transpose(0, 1)) if lse else (result, None)

    return run


def by_runs(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    window: Window,
    scale: float,
    lse: bool,
) -> Attended:
    """Attention of the segments, each run of equal lengths as one matrix, on any device.

    Returns:
        [Tq, heads, dim] for the queries of the segments, and their log-sum-exp float32
        [Tq, heads] where ``lse`` asks for it.
    """
    outs, sums = [], []
    for run in segments.runs:
        q = rows_of(query, run.query, run.count, run.queries)
        k, v = (rows_of(t, run.key, run.count, run.keys) for t in (key, value))
        if k.shape[1] < q.shape[1]:
            k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for t in (k, v))
        if lse:
            out, total = _with_sums(q, k, v, causal=window == (-1, 0), scale=scale)
            sums.append(total.transpose(1, 2).flatten(0, 1))
        else:
            out = _matrix(q, k, v, window, scale)
        outs.append(out.transpose(1, 2).flatten(0, 1))
    flat = outs[0] if len(outs) == 1 else torch.cat(outs)
    return flat.contiguous(), torch.cat(sums) if lse else None


def rows_of(flat: torch.Tensor, start: int, count: int, length: int) -> torch.Tensor:
    """[count, heads, length, dim]: some rows of a flat [T, heads, dim], as a view."""
    part = flat[start : start + count * length]
    return part.view(count, length, *flat.shape[1:]).transpose(1, 2)


def _matrix(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: Window, scale: float
) -> torch.Tensor:
    """[count, heads, queries, dim]."""
    length = key.shape[2]
    if query.shape[2] == 1 or window[0] >= length - 1 or window[0] < 0:
        causal = window[1] == 0 and query.shape[2] > 1
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=causal, scale=scale
        )
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


def to_device(array: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """A host array on the device, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
