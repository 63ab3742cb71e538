"""JinaBERT as in jina-reranker-v1: BERT with symmetric ALiBi and a gated feed-forward layer.

Module names are the checkpoint's tensor names. Source: the modelling code beside
jina-embeddings-v2 and jina-reranker-v1; ALiBi: Press et al., arXiv:2108.12409.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

#: Elements of the attention bias that exist at one time; more rows than fit are done in blocks.
_BIAS_ELEMENTS: Final = 2**26


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of the network, by their names in config.json."""

    vocab_size: int
    type_vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    layer_norm_eps: float
    feed_forward_type: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """Pick the sizes out of config.json."""
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})


def slopes(heads: int) -> list[float]:
    """ALiBi's slope of each head: a geometric series, filled up from the next one.

    For a power of two, 2^(-8/n), 2^(-16/n), …; otherwise those of the power below, then every
    other one of the power above.
    """
    power = 2 ** math.floor(math.log2(heads))
    series = [2 ** (-8 * (k + 1) / power) for k in range(power)]
    if power == heads:
        return series
    return series + slopes(2 * power)[0::2][: heads - power]


class Alibi:
    """The bias on attention scores of one padded batch, made by rows when it is asked for.

    ``bias[h, i, j] = -slope[h] * |i - j|``, and minus infinity where key ``j`` is padding. The
    whole bias of 8,192 tokens would take gigabytes, so it is not kept beyond a size.
    """

    def __init__(
        self, slopes: torch.Tensor, *, width: int, is_token: torch.Tensor | None, like: torch.Tensor
    ) -> None:
        """The batch's part of the bias.

        Args:
            slopes: float32 [heads].
            width: tokens of a padded row.
            is_token: bool [b, width], False at padding; None where there is none.
            like: a tensor of the dtype that the bias takes.
        """
        self.slopes = slopes
        self.dtype = like.dtype
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


class JinaBertReranker(nn.Module):
    """Encoder, pooler on the first token, and one logit."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.bert = JinaBert(shape)
        self.classifier = nn.Linear(shape.hidden_size, 1)

    def forward(
        self,
        input_ids: torch.Tensor,
        *,
        token_types: torch.Tensor | None,
        is_token: torch.Tensor | None,
    ) -> torch.Tensor:
        """Logits.

        Args:
            input_ids: int64 [b, width], padded on the right.
            token_types: int64 [b, width]; None for all 0.
            is_token: bool [b, width], False at padding; None where there is none.

        Returns:
            [b, 1].
        """
        pooled = self.bert(input_ids, token_types=token_types, is_token=is_token)
        logits: torch.Tensor = self.classifier(pooled)
        return logits


class JinaBert(nn.Module):
    """The encoder; only the first token's vector leaves it."""

    slopes: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.encoder = Encoder(shape)
        self.pooler = Pooler(shape)
        values = torch.tensor(slopes(shape.num_attention_heads), dtype=torch.float32)
        self.register_buffer("slopes", values, persistent=False)

    def forward(
        self,
        input_ids: torch.Tensor,
        *,
        token_types: torch.Tensor | None,
        is_token: torch.Tensor | None,
    ) -> torch.Tensor:
        """[b, hidden]: the pooled first token."""
        hidden = self.embeddings(input_ids, token_types)
        alibi = Alibi(self.slopes, width=input_ids.shape[1], is_token=is_token, like=hidden)
        pooled: torch.Tensor = self.pooler(self.encoder(hidden, alibi))
        return pooled


class Embeddings(nn.Module):
    """Words and token types; positions come in with attention."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.token_type_embeddings = nn.Embedding(shape.type_vocab_size, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, input_ids: torch.Tensor, token_types: torch.Tensor | None) -> torch.Tensor:
        """[b, width, hidden]."""
        types = torch.zeros_like(input_ids) if token_types is None else token_types
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(types)
        normed: torch.Tensor = self.LayerNorm(summed)
        return normed


class Encoder(nn.Module):
    """The layers. The last one computes the first row alone, since nothing reads the others."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))

    def forward(self, hidden: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        """[b, 1, hidden]."""
        *layers, last = self.layer
        for layer in layers:
            hidden = layer(hidden, alibi, queries=hidden.shape[1])
        first: torch.Tensor = last(hidden, alibi, queries=1)
        return first


class Layer(nn.Module):
    """Attention, then the gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.mlp = GatedMlp(shape)

    def forward(self, hidden: torch.Tensor, alibi: Alibi, *, queries: int) -> torch.Tensor:
        """[b, queries, hidden]: the first rows of [b, width, hidden], mixed with all."""
        mixed: torch.Tensor = self.mlp(self.attention(hidden, alibi, queries=queries))
        return mixed


class Attention(nn.Module):
    """Multi-head attention with the bias added before the softmax, residual, layer norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        self.self = Projections(shape)
        self.output = Residual(shape)

    def forward(self, hidden: torch.Tensor, alibi: Alibi, *, queries: int) -> torch.Tensor:
        """[b, queries, hidden]."""
        asking = hidden[:, :queries]
        query = self._split(self.self.query(asking))
        key, value = self._split(self.self.key(hidden)), self._split(self.self.value(hidden))
        blocks = [
            functional.scaled_dot_product_attention(
                query[:, :, start : start + alibi.block],
                key,
                value,
                attn_mask=alibi.rows(start, min(start + alibi.block, queries)),
            )
            for start in range(0, queries, alibi.block)
        ]
        merged = torch.cat(blocks, dim=2).transpose(1, 2).flatten(2)
        added: torch.Tensor = self.output(merged, asking)
        return added

    def _split(self, rows: torch.Tensor) -> torch.Tensor:
        """[b, width, hidden] to [b, heads, width, hidden / heads]."""
        return rows.view(*rows.shape[:2], self.heads, -1).transpose(1, 2)


class Projections(nn.Module):
    """What attention asks, is asked by, and hands on."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.query = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.key = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.value = nn.Linear(shape.hidden_size, shape.hidden_size)


class Residual(nn.Module):
    """A projection, added to what was there before, and normalised."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, hidden: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """The shape of ``hidden``."""
        normed: torch.Tensor = self.LayerNorm(self.dense(hidden) + before)
        return normed


class GatedMlp(nn.Module):
    """GLU (arXiv:2002.05202): the first half of the projection is activated, the second gated."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.activation = nn.GELU() if shape.feed_forward_type == "geglu" else nn.ReLU()
        self.gated_layers = nn.Linear(shape.hidden_size, 2 * shape.intermediate_size, bias=False)
        self.wo = nn.Linear(shape.intermediate_size, shape.hidden_size)
        self.layernorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The shape of ``hidden``."""
        activated, plain = self.gated_layers(hidden).chunk(2, dim=-1)
        normed: torch.Tensor = self.layernorm(self.wo(self.activation(activated) * plain) + hidden)
        return normed


class Pooler(nn.Module):
    """``tanh`` of a projection of the first token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[b, hidden]."""
        return torch.tanh(self.dense(hidden[:, 0]))
