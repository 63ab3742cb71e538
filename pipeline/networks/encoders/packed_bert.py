"""BERT, ELECTRA and RoBERTa over flat batches, by a forward pass of our own.

The modules of a body are taken over as they were loaded. Query, key and value come from
one product, a residual and the norm behind it are one kernel on GPUs, and the last layer computes
what is read and nothing else: nobody looks at the other rows of a network's output. Their keys and
values are needed, their queries, output projection and feed-forward layer are not, a sixth of the
work in six layers.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from pipeline.networks.attention.flat import attend
from pipeline.networks.encoders.pointwise import add_layer_norm, embedding_norm, norm_of
from pipeline.networks.linears.joined import JoinedLinear
from pipeline.networks.packed import Packed, Reading
from pipeline.networks.pointwise import rotate_heads
from pipeline.networks.readout import read
from pipeline.networks.rotary import ROTATES, Tables, at_rows, rotary_tables


class PackedBert(nn.Module):
    """The body of BERT, ELECTRA, RoBERTa, XLM-RoBERTa or CamemBERT; XLM-R's may rotate instead.

    Args:
        body: of :func:`pipeline.networks.encoders.skeletons.bert`, or transformers' own; with its
            weights on the device; taken over.
        reads: ``readouts``: the rows that the batch reads out; ``all``: the row of every token.
    """

    def __init__(self, body: Any, *, reads: Literal["readouts", "all"]) -> None:
        super().__init__()
        self.embeddings: Any = body.embeddings
        # ELECTRA's embeddings may be narrower than its layers.
        self.widen: nn.Module = getattr(body, "embeddings_project", nn.Identity())
        self.rotary: nn.Module | None = getattr(body, "rotary_emb", None)
        *layers, last = body.encoder.layer
        self.layers = nn.ModuleList(Layer(layer) for layer in layers)
        self.last = Layer(last) if reads == "all" else LastLayer(last)

    def forward(self, packed: Packed) -> torch.Tensor:
        """[r or T, hidden]."""
        rows = self.widen(self._embedded(packed))
        tables = None
        if self.rotary is not None:
            tables = rotary_tables(self.rotary, rows, packed.position_ids, ROTATES)
        for layer in (*self.layers, self.last):
            rows = layer(rows, packed, tables)
        return rows  # type: ignore[no-any-return]

    def _embedded(self, packed: Packed) -> torch.Tensor:
        """[T, hidden], or as wide as the embeddings are."""
        table = self.embeddings
        words = table.word_embeddings(packed.input_ids[0])
        types = table.token_type_embeddings(packed.segment_ids[0])
        if self.rotary is not None:
            return add_layer_norm(words, types, *norm_of(table.LayerNorm))
        places = table.position_embeddings(packed.position_ids[0])
        return embedding_norm(words, types, places, *norm_of(table.LayerNorm))


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

    def forward(
        self, rows: torch.Tensor, packed: Packed, tables: Tables | None = None
    ) -> torch.Tensor:
        """[T, hidden] to [T, hidden]."""
        query, key, value = (part.unflatten(1, (self.heads, -1)) for part in self.asking(rows))
        if tables is not None:
            query, key = rotate_heads(query, *tables), rotate_heads(key, *tables)
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

    def forward(
        self, rows: torch.Tensor, packed: Packed, tables: Tables | None = None
    ) -> torch.Tensor:
        """[T, hidden] to [r, hidden]."""
        reading: Reading = packed.reading
        asked = rows[reading.rows]
        query = self.query(rows if reading.plan is None else asked)
        key, value = (part.unflatten(1, (self.heads, -1)) for part in self.seen(rows))
        query = query.unflatten(1, (self.heads, -1))
        if tables is not None:
            turn = tables if reading.plan is None else at_rows(tables, reading)
            query, key = rotate_heads(query, *turn), rotate_heads(key, *tables)
        mixed = read(query, key, value, packed.plan, reading, scale=self.scale)
        return self.rest(mixed, asked)  # type: ignore[no-any-return]
