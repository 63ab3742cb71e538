"""DeBERTa-v2 over flat batches: transformers' weights, our own forward pass.

Linear layers, norms and activations see tokens only. Attention is disentangled (arXiv:2006.03654):
to a product of contents it adds one of each content with the distance of the two tokens, so its
scores are no dot products and kernels for packed sequences do not apply. It is computed over
groups of sequences of nearly equal lengths, each padded to its own longest.

transformers' layer does the same work over the whole batch padded to one length, projects the
embeddings of distances anew in each call, and multiplies with all of them; here they are projected
when weights are loaded, and those of distances that a group has are multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from pipeline.networks.attention.plan import to_device
from pipeline.networks.encoders.packed_bert import FeedForward
from pipeline.networks.linears.joined import JoinedLinear
from pipeline.networks.packed import Packed

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int64s

#: Sequences whose lengths have the same multiple of this at or above them are one group.
_STEP: Final = 32


class PackedDeberta(nn.Module):
    """The body of DeBERTa-v2.

    Args:
        body: of transformers, with its weights on the device; taken over.
        reads: ``readouts``: the rows that the batch reads out; ``all``: the row of every token.
    """

    def __init__(self, body: Any, *, reads: Literal["readouts", "all"]) -> None:
        super().__init__()
        self.embeddings: Any = body.embeddings
        self.reads = reads
        with torch.no_grad():
            table = body.encoder.get_rel_embedding()
            self.layers = nn.ModuleList(Layer(layer, table) for layer in body.encoder.layer)
        self.distances = Distances(body.config)

    def forward(self, packed: Packed) -> torch.Tensor:
        """[r or T, hidden]."""
        rows = self._embedded(packed)
        groups = groups_of(packed.plan.own.lengths, rows.device)
        tables = [self.distances.table(group.width, rows.device) for group in groups.groups]
        *layers, last = self.layers
        for layer in layers:
            rows = layer(rows, groups, tables)
        return last(rows, groups, tables, None if self.reads == "all" else packed.reading.rows)  # type: ignore[no-any-return]

    def _embedded(self, packed: Packed) -> torch.Tensor:
        """[T, hidden], as transformers' embeddings without a mask."""
        table = self.embeddings
        rows = table.word_embeddings(packed.input_ids[0])
        if table.position_biased_input:
            rows = rows + table.position_embeddings(packed.position_ids[0])
        if table.token_type_embeddings is not None:
            rows = rows + table.token_type_embeddings(packed.segment_ids[0])
        if table.embed_proj is not None:
            rows = table.embed_proj(rows)
        return table.LayerNorm(rows)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Sequences that are padded to one length for attention.

    Attributes:
        width: that length.
        rows: int64 [n, width], the flat token at each place; some token of the sequence past its
            end.
        hidden: bool [n, 1, 1, width], places past a sequence's end; None where there are none.
        inside: int64 [t], the places of tokens among the n * width.
    """

    width: int
    rows: torch.Tensor
    hidden: torch.Tensor | None
    inside: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Groups:
    """All groups of a batch, and int64 [T], where each flat token is among the groups' tokens."""

    groups: tuple[Group, ...]
    order: torch.Tensor


def groups_of(lengths: Int64s, device: torch.device) -> Groups:
    """Groups of the sequences of a batch.

    Args:
        lengths: int64 [b], tokens of each.
        device: where the batch is.
    """
    starts = np.cumsum(lengths) - lengths
    steps = -(-lengths // _STEP)
    groups, tokens = [], []
    for step in np.unique(steps):
        chosen = np.flatnonzero(steps == step)
        width = int(lengths[chosen].max())
        within = np.arange(width) < lengths[chosen, None]
        rows = starts[chosen, None] + np.where(within, np.arange(width), 0)
        groups.append(
            Group(
                width=width,
                rows=to_device(rows, device),
                hidden=None if within.all() else to_device(~within[:, None, None], device),
                inside=to_device(np.flatnonzero(within), device),
            )
        )
        tokens.append(rows[within])
    return Groups(groups=tuple(groups), order=to_device(np.argsort(np.concatenate(tokens)), device))


@dataclass(frozen=True, kw_only=True)
class DistanceTable:
    """Which embedding of distances belongs to two places of a sequence.

    Attributes:
        used: the rows of the embeddings that a sequence of this length has distances for.
        index: int64 [width, width], of a query's place and a key's; counted from the first used.
    """

    used: slice
    index: torch.Tensor


class Distances:
    """Distances of tokens in buckets, as transformers' DeBERTa-v2 has them (position_buckets)."""

    def __init__(self, config: Any) -> None:
        longest = getattr(config, "max_relative_positions", -1)
        self.longest = longest if longest > 0 else config.max_position_embeddings
        self.buckets = getattr(config, "position_buckets", -1)
        self.span = self.buckets if self.buckets > 0 else self.longest
        self._rows_of: dict[int, Int64s] = {}

    def table(self, width: int, device: torch.device) -> DistanceTable:
        """For sequences of up to ``width`` tokens."""
        if width not in self._rows_of:
            self._rows_of[width] = self._rows(width)
        rows = self._rows_of[width]
        first, last = int(rows[0]), int(rows[-1])
        place = torch.arange(width, device=device)
        between = place[:, None] - place[None, :] + (width - 1)
        return DistanceTable(
            used=slice(first, last + 1), index=to_device(rows - first, device)[between]
        )

    def _rows(self, width: int) -> Int64s:
        """int64 [2 width - 1]: the row of each distance from ``1 - width`` to ``width - 1``.

        On the CPU always, by transformers' own function: logarithms differ between devices, and
        what is rounded up to a bucket would, too.
        """
        from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

        distances = torch.arange(1 - width, width)
        if self.buckets > 0 and self.longest > 0:
            distances = make_log_bucket_position(distances, self.buckets, self.longest)
        rows: Int64s = (distances.long() + self.span).clamp(0, 2 * self.span - 1).numpy()
        return rows


class Layer(nn.Module):
    """One layer; every kind of distance that its attention looks at.

    Args:
        layer: of transformers, with its weights.
        table: [2 span, hidden], embeddings of distances.
    """

    def __init__(self, layer: Any, table: torch.Tensor) -> None:
        super().__init__()
        attention = layer.attention.self
        self.heads = attention.num_attention_heads
        kinds = attention.pos_att_type
        shared = attention.share_att_key
        self.of_query = self.of_key = None
        if "c2p" in kinds:
            project = attention.key_proj if shared else attention.pos_key_proj
            self.of_query = self._split(project(table)).transpose(0, 1).contiguous()
        if "p2c" in kinds:
            project = attention.query_proj if shared else attention.pos_query_proj
            self.of_key = self._split(project(table)).transpose(0, 1).contiguous()
        parts = 1 + (self.of_query is not None) + (self.of_key is not None)
        self.scale = (attention.attention_head_size * parts) ** -0.5
        self.asking = JoinedLinear([attention.query_proj, attention.key_proj, attention.value_proj])
        self.rest = FeedForward(layer)

    def _split(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.view(*rows.shape[:-1], self.heads, -1)

    def forward(
        self,
        rows: torch.Tensor,
        groups: Groups,
        tables: list[DistanceTable],
        read: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[T, hidden] to [T, hidden], or to [r, hidden] of the rows int64 [r] that are read."""
        query, key, value = (self._split(part) for part in self.asking(rows))
        mixed = torch.cat(
            [
                self._mixed(query, key, value, group, table)
                for group, table in zip(groups.groups, tables, strict=True)
            ]
        )[groups.order]
        if read is not None:
            mixed, rows = mixed[read], rows[read]
        return self.rest(mixed, rows)  # type: ignore[no-any-return]

    def _mixed(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        group: Group,
        table: DistanceTable,
    ) -> torch.Tensor:
        """[t, hidden]: attention of a group's tokens."""
        asked, seen, told = (tensor[group.rows].transpose(1, 2) for tensor in (query, key, value))
        bias = self._bias(asked, seen, table)
        if group.hidden is not None:
            bias = bias.masked_fill(group.hidden, torch.finfo(bias.dtype).min)
        mixed = scaled_dot_product_attention(asked, seen, told, attn_mask=bias, scale=self.scale)
        return mixed.transpose(1, 2).flatten(2).flatten(0, 1)[group.inside]

    def _bias(self, query: torch.Tensor, key: torch.Tensor, table: DistanceTable) -> torch.Tensor:
        """[n, heads, width, width], of queries and keys [n, heads, width, dim], scaled."""
        shape = (len(query), self.heads, *table.index.shape)
        bias = query.new_zeros(())
        if self.of_query is not None:
            places = (query * self.scale) @ self.of_query[:, table.used].mT
            bias = places.gather(-1, table.index.expand(shape))
        if self.of_key is not None:
            places = (key * self.scale) @ self.of_key[:, table.used].mT
            bias = bias + places.gather(-1, table.index.mT.expand(shape)).mT
        return bias.expand(shape)
