"""Layers of :mod:`.packed_decoder`: attention and feed-forward, products fused.

One product gives queries, keys and values, one gives gate and up; what happens between products is
in :mod:`pipeline.networks.pointwise`. Nobody looks at the rows of the last layer that are not read
out: their keys and values are needed, their queries, output projection and feed-forward layer are
not, and are not computed.

In state dicts the parts of a fused product are views of it, under the names that checkpoints store
them by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.networks.attention.flat import attend
from pipeline.networks.packed import Reading
from pipeline.networks.pointwise import (
    add_rms_norm,
    geglu,
    norm_rotate_heads,
    rms_norm,
    rotate_heads,
    swiglu,
)
from pipeline.networks.readout import read
from pipeline.networks.rotary import Tables, at_rows
from pipeline.networks.unfilled import unfilled

if TYPE_CHECKING:
    from pipeline.networks.attention.plan import Plan
    from pipeline.networks.decoders.shape import DecoderShape


class DecoderLayer(nn.Module):
    """A layer over all tokens.

    Between layers the last branch's result is not yet added to the states, as the addition happens
    together with the normalisation that follows it.
    """

    def __init__(self, attention: nn.Module, shape: DecoderShape, dtype: torch.dtype) -> None:
        super().__init__()
        self.input_layernorm = Norm(shape.hidden, shape, dtype)
        self.self_attn = attention
        self.post_attention_layernorm = Norm(shape.hidden, shape, dtype)
        self.mlp = FeedForward(shape, dtype)

    def forward(
        self, added: torch.Tensor | None, states: torch.Tensor, tables: Tables, plan: Plan
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What this layer adds, and the states that it adds it to; each [T, hidden]."""
        normed, states = self.input_layernorm(added, states)
        mixed = self.self_attn(normed, tables, plan)
        normed, states = self.post_attention_layernorm(mixed, states)
        return self.mlp(normed), states


class LastLayer(DecoderLayer):
    """The last layer, at the tokens that are read out."""

    def forward(  # type: ignore[override]  # it alone is told what is read
        self,
        added: torch.Tensor | None,
        states: torch.Tensor,
        tables: Tables,
        plan: Plan,
        reading: Reading,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As every layer, for the rows that are read: each [r, hidden]."""
        normed, states = self.input_layernorm(added, states)
        mixed = self.self_attn(normed, tables, plan, reading)
        normed, states = self.post_attention_layernorm(mixed, states[reading.rows])
        return self.mlp(normed), states


class Norm(nn.Module):
    """RMSNorm, of a sum."""

    def __init__(self, size: int, shape: DecoderShape, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, dtype=dtype))
        self.eps, self.offset = shape.eps, shape.norm_offset

    def forward(
        self, added: torch.Tensor | None, states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum, normalised, and the sum; ``added`` is None before the first layer."""
        if added is None:
            return rms_norm(states, self.weight, self.eps, self.offset), states
        return add_rms_norm(added, states, self.weight, self.eps, self.offset)


class FeedForward(nn.Module):
    """A product of two halves, one of them activated: SwiGLU, or Gemma's GEGLU."""

    def __init__(self, shape: DecoderShape, dtype: torch.dtype) -> None:
        super().__init__()
        width = shape.intermediate
        self.gated = swiglu if shape.activation == "silu" else geglu
        self.gate_up_proj = linear(shape.hidden, 2 * width, bias=shape.mlp_bias, dtype=dtype)
        self.down_proj = linear(width, shape.hidden, bias=shape.mlp_bias, dtype=dtype)
        store_apart(self, "gate_up_proj", {"gate_proj": width, "up_proj": width})

    def forward(self, normed: torch.Tensor) -> torch.Tensor:
        """[T, hidden]."""
        mixed: torch.Tensor = self.down_proj(self.gated(self.gate_up_proj(normed)))
        return mixed


class Heads(nn.Module):
    """What both kinds of attention have: heads with positions, and an output projection."""

    def __init__(self, shape: DecoderShape, window: int | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        self.window = window
        self.scale = shape.head_dim**-0.5
        self.o_proj = linear(
            shape.heads * shape.head_dim, shape.hidden, bias=shape.output_bias, dtype=dtype
        )
        if shape.head_norm:
            self.q_norm = Norm(shape.head_dim, shape, dtype)
            self.k_norm = Norm(shape.head_dim, shape, dtype)

    def split(self, projected: torch.Tensor) -> torch.Tensor:
        """[T, heads, head_dim] of [T, heads * head_dim]."""
        return projected.view(len(projected), -1, self.shape.head_dim)

    def placed(self, heads: torch.Tensor, tables: Tables, *, queries: int) -> torch.Tensor:
        """[T, heads, head_dim], turned by position; the first ``queries`` are heads of queries."""
        if not self.shape.head_norm:
            return rotate_heads(heads, *tables)
        norms = self.q_norm.weight, self.k_norm.weight
        return norm_rotate_heads(heads, *tables, *norms, self.shape.eps, queries)


class Attention(Heads):
    """Attention of all tokens."""

    def __init__(self, shape: DecoderShape, window: int | None, dtype: torch.dtype) -> None:
        super().__init__(shape, window, dtype)
        keys = shape.key_heads * shape.head_dim
        sizes = {"q_proj": shape.heads * shape.head_dim, "k_proj": keys, "v_proj": keys}
        self.qkv_proj = linear(
            shape.hidden, sum(sizes.values()), bias=shape.input_bias, dtype=dtype
        )
        store_apart(self, "qkv_proj", sizes)

    def forward(self, normed: torch.Tensor, tables: Tables, plan: Plan) -> torch.Tensor:
        """[T, hidden]."""
        queries, keys = self.shape.heads, self.shape.key_heads
        heads, value = torch.split(self.split(self.qkv_proj(normed)), [queries + keys, keys], dim=1)
        placed = self.placed(heads, tables, queries=queries)
        query, key = torch.split(placed, [queries, keys], dim=1)
        mixed = attend(query, key, value, plan, scale=self.scale, window=self.window)
        projected: torch.Tensor = self.o_proj(mixed.flatten(1))
        return projected


class LastAttention(Heads):
    """Attention at the tokens that are read out.

    Queries have a product of their own, as fewer rows go through it.
    """

    def __init__(self, shape: DecoderShape, window: int | None, dtype: torch.dtype) -> None:
        super().__init__(shape, window, dtype)
        queries, keys = shape.heads * shape.head_dim, shape.key_heads * shape.head_dim
        self.q_proj = linear(shape.hidden, queries, bias=shape.input_bias, dtype=dtype)
        self.kv_proj = linear(shape.hidden, 2 * keys, bias=shape.input_bias, dtype=dtype)
        store_apart(self, "kv_proj", {"k_proj": keys, "v_proj": keys})

    def forward(
        self, normed: torch.Tensor, tables: Tables, plan: Plan, reading: Reading
    ) -> torch.Tensor:
        """[r, hidden]."""
        if reading.plan is None or self.window is not None:
            reading, asking, turn = Reading(rows=reading.rows, plan=None), normed, tables
        else:
            asking, turn = normed[reading.rows], at_rows(tables, reading)
        key, value = self.split(self.kv_proj(normed)).chunk(2, dim=1)
        mixed = read(
            self.placed(self.split(self.q_proj(asking)), turn, queries=self.shape.heads),
            self.placed(key, tables, queries=0),
            value,
            plan,
            reading,
            scale=self.scale,
            window=self.window,
        )
        projected: torch.Tensor = self.o_proj(mixed)
        return projected


def linear(inputs: int, outputs: int, *, bias: bool, dtype: torch.dtype) -> nn.Linear:
    """A linear layer whose weights wait to be read."""
    with unfilled():
        return nn.Linear(inputs, outputs, bias=bias, dtype=dtype)


def store_apart(module: nn.Module, fused: str, parts: Mapping[str, int]) -> None:
    """Show a fused linear layer in state dicts as the layers that checkpoints store.

    Args:
        module: that holds it.
        fused: its name there.
        parts: names of the stored layers and how many outputs each has, in order.
    """

    def split(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        for kind in ("weight", "bias"):
            whole = state.pop(f"{prefix}{fused}.{kind}", None)
            if whole is not None:
                rows = whole.split(list(parts.values()))
                state.update(
                    (f"{prefix}{name}.{kind}", part) for name, part in zip(parts, rows, strict=True)
                )

    module.register_state_dict_post_hook(split)  # type: ignore[no-untyped-call]
