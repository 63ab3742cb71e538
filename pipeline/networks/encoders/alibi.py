"""ALiBi (Press et al., arXiv:2108.12409), symmetric as in JinaBERT: distance costs attention.

``bias[h, i, j] = -slope[h] * |i - j|`` is added to the scores of head ``h``. Over a matrix of
padded rows and over sequences side by side, in each case without ever holding the whole bias of a
long sequence: that of 8,192 tokens would take gigabytes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final

import torch
from torch.nn import functional

from pipeline.networks.attention.plan import Plan
from pipeline.networks.attention.runs import rows_of
from pipeline.networks.packed import Packed
from pipeline.networks.refusals import unless_refused

#: Elements of the bias that exist at one time; more rows than fit are done in blocks.
_BIAS_ELEMENTS: Final = 2**26


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
        for run in _plan_for(len(query), self.packed).own.runs:
            out = self.bias.attend(
                rows_of(query, run.query, run.count, run.queries),
                rows_of(key, run.key, run.count, run.keys),
                rows_of(value, run.key, run.count, run.keys),
            )
            outs.append(out.transpose(1, 2).flatten(0, 1))
        return torch.cat(outs)


class TritonAlibi(Alibi):
    """Of sequences side by side [T, …], by a kernel of our own for CUDA.

    FlashAttention has the bias too, but torch is built without it.
    """

    def __init__(self, packed: Packed, slopes: torch.Tensor) -> None:
        self.packed = packed
        self.slopes = slopes
        self._plain: PackedAlibi | None = None

    def first(self, hidden: torch.Tensor) -> torch.Tensor:
        """[b, hidden]."""
        return hidden[self.packed.reading.rows]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[Tq, heads, dim]."""

        def kernel() -> torch.Tensor:
            from pipeline.networks.attention.triton_kernel import encoder_attention

            segments = _plan_for(len(query), self.packed).own
            return encoder_attention(query, key, value, segments, slopes=self.slopes)

        def plain() -> torch.Tensor:
            if self._plain is None:
                self._plain = PackedAlibi(self.packed, self.slopes, dtype=query.dtype)
            return self._plain.attend(query, key, value)

        what = f"the Triton kernel for ALiBi with heads of {query.shape[2]}"
        return unless_refused(what, kernel, plain, instead="torch's own matrices run")


def _plan_for(queries: int, packed: Packed) -> Plan:
    """For all tokens as queries, or for the first one of each sequence."""
    if queries == packed.input_ids.shape[1]:
        return packed.plan
    assert packed.reading.plan is not None
    return packed.reading.plan
