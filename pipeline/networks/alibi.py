"""ALiBi (Press et al., arXiv:2108.12409), symmetric as in JinaBERT: distance costs attention.

``bias[h, i, j] = -slope[h] * |i - j|`` is added to the scores of head ``h``. Over a matrix of
padded rows and over sequences side by side, in each case without ever holding the whole bias of a
long sequence: that of 8,192 tokens would take gigabytes.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from pipeline.networks.attention import Plan, Segments, rows_of, to_device
from pipeline.networks.packed import Packed

#: Elements of the bias that exist at one time; more rows than fit are done in blocks.
_BIAS_ELEMENTS: Final = 2**26

#: Tokens of a block on the sides of the compiled kernel's sparse matrix.
_BLOCK: Final = 128


def slopes(heads: int) -> list[float]:
    """The slope of each head: a geometric series, filled up from the next one.

    For a power of two, 2^(-8/n), 2^(-16/n), …; otherwise those of the power below, then every
    other one of the power above.
    """
    power = 2 ** math.floor(math.log2(heads))
    series = [2 ** (-8 * (k + 1) / power) for k in range(power)]
    if power == heads:
        return series
    return series + slopes(2 * power)[0::2][: heads - power]


class Bias:
    """The bias of sequences of some length, made by rows when it is asked for.

    Args:
        slopes: float32 [heads].
        width: tokens of the longest sequence.
        is_token: bool [b, width], False at padding, which nobody sees; None where there is none.
        dtype: that the bias takes.
    """

    def __init__(
        self,
        slopes: torch.Tensor,
        *,
        width: int,
        is_token: torch.Tensor | None = None,
        dtype: torch.dtype,
    ) -> None:
        self.slopes = slopes
        self.dtype = dtype
        self.keys = torch.arange(width, device=slopes.device)
        self.padding = None if is_token is None else ~is_token[:, None, None, :]
        rows = 1 if is_token is None else len(is_token)
        self.block = max(1, _BIAS_ELEMENTS // (rows * len(slopes) * width))
        self.whole = self._make(0, width) if self.block >= width else None

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """[1 or b, heads, stop - start, width]: the bias of some queries to all keys."""
        return self._make(start, stop) if self.whole is None else self.whole[:, :, start:stop]

    def _make(self, start: int, stop: int) -> torch.Tensor:
        distance = (self.keys[start:stop, None] - self.keys).abs()
        bias = (self.slopes[:, None, None] * -distance).to(self.dtype)[None]
        return bias if self.padding is None else bias.masked_fill(self.padding, -math.inf)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[b, heads, queries, dim]: the first tokens of [b, heads, length, dim] ask."""
        queries, keys = query.shape[2], key.shape[2]
        blocks = [
            functional.scaled_dot_product_attention(
                query[:, :, start : start + self.block],
                key,
                value,
                attn_mask=self.rows(start, min(start + self.block, queries))[..., :keys],
            )
            for start in range(0, queries, self.block)
        ]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)


class Alibi(ABC):
    """Attention of one batch."""

    @abstractmethod
    def first(self, hidden: torch.Tensor) -> torch.Tensor:
        """The row of each sequence's first token."""

    @abstractmethod
    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Of all tokens or the first ones as queries; shapes [..., heads, dim] as given."""


class PaddedAlibi(Alibi):
    """Of a matrix of rows [b, width, …]."""

    def __init__(self, bias: Bias) -> None:
        self.bias = bias

    def first(self, hidden: torch.Tensor) -> torch.Tensor:
        """[b, 1, hidden]."""
        return hidden[:, :1]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[b, queries, heads, dim]."""
        parts = (tensor.transpose(1, 2) for tensor in (query, key, value))
        return self.bias.attend(*parts).transpose(1, 2)


class PackedAlibi(Alibi):
    """Of sequences side by side [T, …], each run of equal lengths as one matrix."""

    def __init__(self, packed: Packed, slopes: torch.Tensor, *, dtype: torch.dtype) -> None:
        self.packed = packed
        self.bias = Bias(slopes, width=packed.plan.own.longest_key, dtype=dtype)

    def first(self, hidden: torch.Tensor) -> torch.Tensor:
        """[b, hidden]."""
        return hidden[self.packed.reading.rows]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[Tq, heads, dim]."""
        outs = []
        for run in self._plan(len(query)).own.runs:
            out = self.bias.attend(
                rows_of(query, run.query, run.count, run.queries),
                rows_of(key, run.key, run.count, run.keys),
                rows_of(value, run.key, run.count, run.keys),
            )
            outs.append(out.transpose(1, 2).flatten(0, 1))
        return torch.cat(outs)

    def _plan(self, queries: int) -> Plan:
        """For all tokens as queries, or for the first one of each sequence."""
        if queries == self.packed.input_ids.shape[1]:
            return self.packed.plan
        assert self.packed.reading.plan is not None
        return self.packed.reading.plan


class FlexAlibi(Alibi):
    """Of sequences side by side [T, …], by one kernel that torch compiles for CUDA.

    FlashAttention has the bias too, but torch is built without it.
    """

    def __init__(self, packed: Packed, slopes: torch.Tensor) -> None:
        from torch.nn.attention.flex_attention import BlockMask

        tokens = packed.input_ids.shape[1]
        device = slopes.device
        self.packed = packed
        segments = packed.plan.own
        starts = segments.offsets(device)[0]
        sequence = torch.searchsorted(
            starts[1:], torch.arange(tokens, device=device, dtype=torch.int32), right=True
        )
        counts, blocks = key_blocks(segments, tokens)

        def same_sequence(_: Any, __: Any, query: Any, key: Any) -> Any:
            return sequence[query] == sequence[key]

        def farther_is_less(score: Any, _: Any, head: Any, query: Any, key: Any) -> Any:
            return score - slopes[head] * (query - key).abs()

        self.bias = farther_is_less
        self.mask = BlockMask.from_kv_blocks(
            to_device(counts, device)[None, None],
            to_device(blocks, device)[None, None],
            BLOCK_SIZE=_BLOCK,
            mask_mod=same_sequence,
            seq_lengths=(tokens, tokens),
            compute_q_blocks=False,
        )

    def first(self, hidden: torch.Tensor) -> torch.Tensor:
        """[b, hidden]."""
        return hidden[self.packed.reading.rows]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[Tq, heads, dim]."""
        if len(query) < len(key):
            # The kernel asks by blocks of neighbours: as many queries are no more work than one.
            whole = torch.zeros_like(key)
            whole[self.packed.reading.rows] = query
            return self.attend(whole, key, value)[self.packed.reading.rows]
        parts = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
        run = _compiled() if query.is_cuda else _flex()
        out: torch.Tensor = run(*parts, score_mod=self.bias, block_mask=self.mask)
        return out[0].transpose(0, 1)


def key_blocks(segments: Segments, tokens: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Which blocks of keys each block of queries sees something of.

    Returns:
        int32 [n] how many, and int32 [n, n] which, the first of each row; the rest is anything.
    """
    edges = np.array([r.query + i * r.queries for r in segments.runs for i in range(r.count)])
    ends = np.append(edges[1:], tokens)
    n = -(-tokens // _BLOCK)
    first = np.searchsorted(edges, np.arange(n) * _BLOCK, side="right") - 1
    last_token = np.minimum(np.arange(1, n + 1) * _BLOCK, tokens) - 1
    last = np.searchsorted(edges, last_token, side="right") - 1
    low, high = edges[first] // _BLOCK, (ends[last] - 1) // _BLOCK
    which = (low[:, None] + np.arange(n)) % n
    return (high - low + 1).astype(np.int32), which.astype(np.int32)


def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention


@functools.cache
def _compiled() -> Any:
    return torch.compile(_flex(), dynamic=True)
