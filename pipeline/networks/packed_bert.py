"""BERT, ELECTRA and RoBERTa over flat batches: transformers' weights, our own forward pass.

The modules of transformers' body are taken over as they were loaded. Query, key and value come from
one product, a residual and the norm behind it are one kernel on GPUs, and the last layer computes
what is read and nothing else: nobody looks at the other rows of a network's output. Their keys and
values are needed, their queries, output projection and feed-forward layer are not, a sixth of the
work in six layers.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from pipeline.networks.attention import attend
from pipeline.networks.encoder_pointwise import add_layer_norm, embedding_norm, norm_of
from pipeline.networks.joined_linear import JoinedLinear
from pipeline.networks.packed import Packed, Reading
from pipeline.networks.readout import read


class PackedBert(nn.Module):
    """The body of BERT, ELECTRA, RoBERTa, XLM-RoBERTa or CamemBERT.

    Args:
        body: of transformers, with its weights on the device; taken over.
        reads: ``readouts``: the rows that the batch reads out; ``all``: the row of every token.
    """

    def __init__(self, body: Any, *, reads: Literal["readouts", "all"]) -> None:
        super().__init__()
        self.embeddings: Any = body.embeddings
        # ELECTRA's embeddings may be narrower than its layers.
        self.widen: nn.Module = getattr(body, "embeddings_project", nn.Identity())
        *layers, last = body.encoder.layer
        self.layers = nn.ModuleList(Layer(layer) for layer in layers)
        self.last = Layer(last) if reads == "all" else LastLayer(last)

    def forward(self, packed: Packed) -> torch.Tensor:
        """[r or T, hidden]."""
        table = self.embeddings
        rows = embedding_norm(
            table.word_embeddings(packed.input_ids[0]),
            table.token_type_embeddings(packed.segment_ids[0]),
            table.position_embeddings(packed.position_ids[0]),
            *norm_of(table.LayerNorm),
        )
        rows = self.widen(rows)
        for layer in (*self.layers, self.last):
            rows = layer(rows, packed)
        return rows  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """What a layer does after attention: projection, feed-forward layer, both with residuals."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.projection = layer.attention.output
        self.inner = layer.intermediate
        self.outer = layer.output

    def forward(self, mixed: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """[n, hidden], of what attention gave and what the layer took."""
        projected = self.projection.dense(mixed)
        rows = add_layer_norm(projected, before, *norm_of(self.projection.LayerNorm))
        grown = self.outer.dense(self.inner(rows))
        return add_layer_norm(grown, rows, *norm_of(self.outer.LayerNorm))


class Layer(nn.Module):
    """All rows of a layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention.self
        self.heads, self.scale = attention.num_attention_heads, attention.scaling
        self.asking = JoinedLinear([attention.query, attention.key, attention.value])
        self.rest = FeedForward(layer)

    def forward(self, rows: torch.Tensor, packed: Packed) -> torch.Tensor:
        """[T, hidden] to [T, hidden]."""
        query, key, value = (part.unflatten(1, (self.heads, -1)) for part in self.asking(rows))
        mixed = attend(query, key, value, packed.plan, scale=self.scale).flatten(1)
        return self.rest(mixed, rows)  # type: ignore[no-any-return]


class LastLayer(nn.Module):
    """The rows of a layer that are read out."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention.self
        self.heads, self.scale = attention.num_attention_heads, attention.scaling
        self.query = attention.query
        self.seen = JoinedLinear([attention.key, attention.value])
        self.rest = FeedForward(layer)

    def forward(self, rows: torch.Tensor, packed: Packed) -> torch.Tensor:
        """[T, hidden] to [r, hidden]."""
        reading: Reading = packed.reading
        asked = rows[reading.rows]
        query = self.query(rows if reading.plan is None else asked)
        key, value = (part.unflatten(1, (self.heads, -1)) for part in self.seen(rows))
        query = query.unflatten(1, (self.heads, -1))
        mixed = read(query, key, value, packed.plan, reading, scale=self.scale)
        return self.rest(mixed, asked)  # type: ignore[no-any-return]
