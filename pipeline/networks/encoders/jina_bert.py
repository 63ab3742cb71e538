"""JinaBERT as in jina-reranker-v1: BERT with symmetric ALiBi and a gated feed-forward layer.

Module names are the checkpoint's tensor names. Source: the modelling code beside
jina-embeddings-v2 and jina-reranker-v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pipeline.networks.attention.libraries import has_triton
from pipeline.networks.encoders.alibi import (
    Alibi,
    Bias,
    PackedAlibi,
    PaddedAlibi,
    TritonAlibi,
    slopes,
)
from pipeline.networks.encoders.pointwise import add_layer_norm, geglu, norm_of, reglu
from pipeline.networks.linears.joined import JoinedLinear
from pipeline.networks.packed import pack
from pipeline.networks.padding import pad

if TYPE_CHECKING:
    from pipeline.sequences.batch import Batch


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


class JinaBertReranker(nn.Module):
    """Encoder, pooler on the first token, and one logit.

    Args:
        shape: of the network.
        pad_id: the padding's id.
        packed: whether sequences go through without padding.
    """

    def __init__(self, shape: Shape, *, pad_id: int, packed: bool) -> None:
        super().__init__()
        self.bert = JinaBert(shape)
        self.classifier = nn.Linear(shape.hidden_size, 1)
        self.pad_id = pad_id
        self.packed = packed

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the logit of each sequence."""
        pooled = self.bert.packed(batch) if self.packed else self.bert.padded(batch, self.pad_id)
        logits: torch.Tensor = self.classifier(pooled)
        return logits.float()


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

    def join(self) -> None:
        """Queries, keys and values from one product, in all layers but the last.

        The last one asks for the first token of each sequence alone.
        """
        layers: list[Any] = list(self.encoder.layer)
        for layer in layers[:-1]:
            layer.attention.self.join()

    def packed(self, batch: Batch) -> torch.Tensor:
        """[b, hidden]: the pooled first token of each sequence, side by side."""
        packed = pack(batch)
        hidden = self.embeddings(packed.input_ids[0], packed.segment_ids[0])
        alibi: Alibi
        if hidden.is_cuda and has_triton():
            alibi = TritonAlibi(packed, self.slopes)
        else:
            alibi = PackedAlibi(packed, self.slopes, dtype=hidden.dtype)
        return self.pooler(self.encoder(hidden, alibi))  # type: ignore[no-any-return]

    def padded(self, batch: Batch, pad_id: int) -> torch.Tensor:
        """[b, hidden]: the same, of a matrix that is padded on the right."""
        padded = pad(batch, pad_id)
        types = padded.segment_ids
        hidden = self.embeddings(
            padded.input_ids, torch.zeros_like(padded.input_ids) if types is None else types
        )
        ragged = int(batch.lengths.min()) < int(batch.lengths.max())
        bias = Bias(
            self.slopes,
            width=hidden.shape[1],
            is_token=padded.attention_mask.bool() if ragged else None,
            dtype=hidden.dtype,
        )
        return self.pooler(self.encoder(hidden, PaddedAlibi(bias)))  # type: ignore[no-any-return]


class Embeddings(nn.Module):
    """Words and token types; positions come in with attention."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.token_type_embeddings = nn.Embedding(shape.type_vocab_size, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, input_ids: torch.Tensor, token_types: torch.Tensor) -> torch.Tensor:
        """[..., hidden]."""
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(token_types)
        normed: torch.Tensor = self.LayerNorm(summed)
        return normed


class Encoder(nn.Module):
    """The layers. The last one computes the first row alone, since nothing reads the others."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))

    def forward(self, hidden: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        """The first token's row of each sequence."""
        *layers, last = self.layer
        for layer in layers:
            hidden = layer(hidden, hidden, alibi)
        first: torch.Tensor = last(alibi.first(hidden), hidden, alibi)
        return first


class Layer(nn.Module):
    """Attention, then the gated feed-forward layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention = Attention(shape)
        self.mlp = GatedMlp(shape)

    def forward(self, asking: torch.Tensor, hidden: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        """The shape of ``asking``: some of the rows of ``hidden``, mixed with all."""
        mixed: torch.Tensor = self.mlp(self.attention(asking, hidden, alibi))
        return mixed


class Attention(nn.Module):
    """Multi-head attention with the bias added before the softmax, residual, layer norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        self.self = Projections(shape)
        self.output = Residual(shape)

    def forward(self, asking: torch.Tensor, hidden: torch.Tensor, alibi: Alibi) -> torch.Tensor:
        """The shape of ``asking``."""
        query, key, value = self.self(asking, hidden)
        mixed = alibi.attend(self._split(query), self._split(key), self._split(value))
        added: torch.Tensor = self.output(mixed.flatten(-2), asking)
        return added

    def _split(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., hidden] to [..., heads, hidden / heads]."""
        return rows.view(*rows.shape[:-1], self.heads, -1)


class Projections(nn.Module):
    """What attention asks, is asked by, and hands on."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.query = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.key = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.value = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.joined: JoinedLinear | None = None

    def join(self) -> None:
        """Make one product of the three, once the weights are there and where that is faster."""
        self.joined = JoinedLinear([self.query, self.key, self.value])
        del self.query, self.key, self.value

    def forward(self, asking: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries of some rows; keys and values of all."""
        if self.joined is not None:
            assert asking is hidden
            joined: tuple[torch.Tensor, ...] = self.joined(hidden)
            return joined
        return self.query(asking), self.key(hidden), self.value(hidden)


class Residual(nn.Module):
    """A projection, added to what was there before, and normalised."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size)
        self.LayerNorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, hidden: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """The shape of ``hidden``."""
        return add_layer_norm(self.dense(hidden), before, *norm_of(self.LayerNorm))


class GatedMlp(nn.Module):
    """GLU (arXiv:2002.05202): the first half of the projection is activated, the second gated."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = geglu if shape.feed_forward_type == "geglu" else reglu
        self.gated_layers = nn.Linear(shape.hidden_size, 2 * shape.intermediate_size, bias=False)
        self.wo = nn.Linear(shape.intermediate_size, shape.hidden_size)
        self.layernorm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The shape of ``hidden``."""
        grown = self.wo(self.gate(self.gated_layers(hidden)))
        return add_layer_norm(grown, hidden, *norm_of(self.layernorm))


class Pooler(nn.Module):
    """``tanh`` of a projection of the first token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden_size, shape.hidden_size)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[b, hidden], of [b, hidden] or [b, 1, hidden]."""
        return torch.tanh(self.dense(hidden.flatten(0, -2)))
