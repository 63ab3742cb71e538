"""ModernBERT (arXiv:2412.13663) over flat batches, by a forward pass of our own.

The modules of a body are taken over as they were loaded. Its norms stand before what
they feed, so a layer's result is added and normalised in one step, by the layer that comes next;
on GPUs that is one kernel, as is the rotation of queries and keys. The last layer computes the rows
that are read and nothing else, as in :mod:`pipeline.networks.encoders.packed_bert`.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from pipeline.networks.attention.flat import attend
from pipeline.networks.encoders.pointwise import add_and_norm, geglu, norm_of
from pipeline.networks.packed import Packed, Reading
from pipeline.networks.pointwise import rotate_heads
from pipeline.networks.readout import read
from pipeline.networks.rotary import Tables, at_rows, rotary_tables


class PackedModernBert(nn.Module):
    """The body of ModernBERT.

    Args:
        body: of :func:`pipeline.networks.encoders.skeletons.modernbert`, or transformers' own; with
            its weights on the device; taken over.
        reads: ``readouts``: the rows that the batch reads out; ``all``: the row of every token.
    """

    def __init__(self, body: Any, *, reads: Literal["readouts", "all"]) -> None:
        super().__init__()
        self.embeddings: Any = body.embeddings
        self.rotary: nn.Module = body.rotary_emb
        activation = body.config.hidden_activation
        *layers, last = body.layers
        self.layers = nn.ModuleList(Layer(layer, activation) for layer in layers)
        self.last = (Layer if reads == "all" else LastLayer)(last, activation)
        self.norm: nn.LayerNorm = body.final_norm

    def forward(self, packed: Packed) -> torch.Tensor:
        """[r or T, hidden]."""
        rows = self.embeddings.norm(self.embeddings.tok_embeddings(packed.input_ids[0]))
        kinds = {layer.kind for layer in (*self.layers, self.last)}
        tables = {
            kind: rotary_tables(self.rotary, rows, packed.position_ids, kind) for kind in kinds
        }
        added: Any = None
        for layer in (*self.layers, self.last):
            added, rows = layer(added, rows, tables[layer.kind], packed)
        return add_and_norm(added, rows, *norm_of(self.norm))[0]


class Layer(nn.Module):
    """All rows of a layer.

    Args:
        layer: of transformers, taken over.
        activation: of the feed-forward layer's gate, as ``hidden_activation`` names it.
    """

    def __init__(self, layer: Any, activation: str) -> None:
        super().__init__()
        #: ``full_attention`` or ``sliding_attention``, by which rotary tables differ.
        self.kind = str(layer.attention_type)
        self.attention_norm: nn.Module = layer.attn_norm  # the first layer has none
        self.attention: Any = layer.attn
        self.feed_forward_norm: nn.LayerNorm = layer.mlp_norm
        self.feed_forward: Any = layer.mlp
        self.exact_gelu = activation == "gelu"

    def forward(
        self, added: torch.Tensor | None, rows: torch.Tensor, tables: Tables, packed: Packed
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What this layer adds, and the rows that it adds it to; each [T, hidden]."""
        normed, rows = self._begin(added, rows)
        heads, value = self._heads(normed)
        placed = rotate_heads(heads, *tables)
        query, key = placed.chunk(2, dim=1)
        attention = self.attention
        mixed = attend(
            query, key, value, packed.plan,
            scale=attention.head_dim**-0.5, window=attention.sliding_window,
        )  # fmt: skip
        return self._end(mixed.flatten(1), rows)

    def _begin(
        self, added: torch.Tensor | None, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What attention takes, and the rows that what follows is added to."""
        if added is None:
            return self.attention_norm(rows), rows
        norm = self.attention_norm
        assert isinstance(norm, nn.LayerNorm)
        return add_and_norm(added, rows, *norm_of(norm))

    def _heads(self, normed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, 2 * heads, dim] of queries, then keys; and [T, heads, dim] of values."""
        attention = self.attention
        parts = attention.Wqkv(normed).view(len(normed), -1, attention.head_dim)
        heads = parts.shape[1] // 3
        placed, value = torch.split(parts, [2 * heads, heads], dim=1)
        return placed, value

    def _end(self, mixed: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The feed-forward layer, of what attention gave."""
        projected = self.attention.Wo(mixed)
        normed, rows = add_and_norm(projected, rows, *norm_of(self.feed_forward_norm))
        feed_forward = self.feed_forward
        if not self.exact_gelu:
            return feed_forward(normed), rows
        return feed_forward.Wo(geglu(feed_forward.Wi(normed))), rows


class LastLayer(Layer):
    """The rows of a layer that are read out."""

    def forward(
        self, added: torch.Tensor | None, rows: torch.Tensor, tables: Tables, packed: Packed
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As every layer, for the rows that are read: each [r, hidden]."""
        normed, rows = self._begin(added, rows)
        heads, value = self._heads(normed)
        query, key = heads.chunk(2, dim=1)
        window, reading, turn = self.attention.sliding_window, packed.reading, tables
        if reading.plan is None or window is not None:  # their neighbours must ask, too
            reading = Reading(rows=reading.rows, plan=None)
        else:
            query, turn = query[reading.rows], at_rows(tables, reading)
        mixed = read(
            rotate_heads(query, *turn),
            rotate_heads(key, *tables),
            value,
            packed.plan,
            reading,
            scale=self.attention.head_dim**-0.5,
            window=window,
        )
        return self._end(mixed, rows[reading.rows])
